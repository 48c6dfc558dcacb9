"""Write the integer graph: plain ONNX in QuantizeLinear / DequantizeLinear form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.encodings import Encoding, narrow
from intact.compress.operators import MOST_APART, MOST_SHIFT, operators
from intact.compress.plan import FLOAT, Plan, Step
from intact.compress.solve import Solution
from intact.errors import ModelError
from intact.graph.view import OPSET, Graph, Node

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Emission:
    """The integer graph and what was solved on the way.

    Args:
        graph: Plain ONNX, opset 21.
        solutions: The integers of each layer, by its name.
    """

    graph: Graph
    solutions: Mapping[str, Solution]


class Emitter:
    """Gathers the nodes and constants of the integer graph; what an operator writes through.

    A float tensor keeps its name. The codes of tensor `t` are called `t_q`, and `t` read back from its codes `t_r`.
    """

    def __init__(self, plan: Plan, encodings: Mapping[str, Encoding], solutions: Mapping[str, Solution]) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.encodings = encodings
        self.solutions = solutions
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}
        self._codes: dict[str, str] = {}
        self._read: dict[str, str] = {}
        self._coarser: dict[tuple[str, int], str] = {}
        self._reals: dict[str, str] = {port.name: port.name for port in plan.graph.inputs}

    def node(self, op: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> str:
        """Write a node of one output; return the output's name."""
        self._nodes.append(Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes))
        return output

    def copy(self, node: Node) -> None:
        """Write `node` as it is."""
        self._nodes.append(node)

    def constant(self, name: str, value: Array) -> str:
        """Keep a constant under `name`; return the name."""
        self._constants[name] = value
        return name

    def scalar(self, value: Any, dtype: Any) -> str:
        """Keep a scalar constant, one for all who need the same; return its name."""
        array = np.asarray(value, dtype=dtype)
        return self.constant(f"{array.dtype.char}{array.item()!r}", array)

    def codes(self, tensor: str) -> str:
        """Return the name of the codes of `tensor`, quantizing it here if it is only there in float."""
        if tensor not in self._codes:
            encoding, source = self.encodings[tensor], self._reals[tensor]
            if encoding.factor.ndim:
                divisor = self.constant(f"{tensor}_m", (1.0 / encoding.factor).astype(np.float32))
                source = self.node("Mul", (source, divisor), f"{tensor}_n")
            scale = encoding.scale if encoding.factor.ndim else encoding.scale * float(encoding.factor)
            self._codes[tensor] = self._quantize(source, encoding, f"{tensor}_q", scale)
        return self._codes[tensor]

    def real(self, tensor: str) -> str:
        """Return the name of `tensor` in float: as a float step made it, or read back from its codes."""
        return self._reals[tensor] if tensor in self._reals else self._read_back(tensor)

    def either(self, tensor: str) -> str:
        """Return the name of `tensor` in codes or in float, as it is there: they have one shape."""
        return self._codes.get(tensor) or self.real(tensor)

    def quantized(self, tensor: str, *, least: int | None = None, bits: int = 8) -> str:
        """Return the name of `tensor` as float values that went through its codes: what an integer operator reads.

        Where their scale is below 2^least, they go through codes of that scale too; with `bits` below 8, through the
        narrow codes that some layers read.
        """
        self.codes(tensor)
        if bits < 8 and self.encodings[tensor].affine.bits > bits:
            return self._narrowed(tensor, bits)
        if least is None or self.encodings[tensor].exponent >= least:
            return self._read_back(tensor)
        if (tensor, least) not in self._coarser:
            self._coarser[tensor, least] = self._coarsen(tensor, least)
        return self._coarser[tensor, least]

    def least_exponent(self, tensors: Sequence[str]) -> int | None:
        """The exponent below which none of `tensors` may lie to be added to the others; None where scales are free."""
        if not self.plan.power_of_two:
            return None
        return max(self.encodings[name].exponent for name in tensors) - MOST_APART

    def put_codes(self, tensor: str, name: str) -> None:
        """Say that `name` holds the codes of `tensor`."""
        self._codes[tensor] = name

    def put(self, op: str, inputs: tuple[str, ...], tensor: str, **attributes: Any) -> None:
        """Write the float node that makes `tensor`, and its QuantizeLinear where it lives as codes."""
        if tensor not in self.plan.coded or self.encodings[tensor].factor.ndim:  # codes() divides it by its factor
            self._reals[tensor] = self.node(op, inputs, tensor, **attributes)
            return
        inner = self.node(op, inputs, f"{tensor}_f", **attributes)
        encoding = self.encodings[tensor]
        self._codes[tensor] = self._quantize(inner, encoding, f"{tensor}_q", encoding.scale)

    def put_real(self, tensor: str) -> None:
        """Say that `tensor` is there in float under its own name."""
        self._reals[tensor] = tensor

    def finish(self) -> Graph:
        """Return the graph, its outputs in float under their own names."""
        for name in sorted(self.graph.output_names - set(self._reals)):
            value = self.graph.constant(name)
            if value is None:
                self._reals[name] = self._dequantize(name, name)
            else:
                self._reals[name] = self.node("Identity", (self.constant(f"{name}.value", value),), name)
        used = {name for node in self._nodes for name in node.present()} | self.graph.output_names
        self._refuse_doubles(used)
        used -= {name for name in self.graph.output_names if self.graph.constant(name) is not None}
        constants = {name: value for name, value in {**self.graph.constants, **self._constants}.items() if name in used}
        return replace(
            self.graph, nodes=tuple(self._nodes), constants=constants, opset=OPSET, domains=dict(self.graph.domains)
        )

    def holder(self, tensor: str) -> str:
        """The name of what was written of `tensor`, of which all other forms of it can be made."""
        return self._reals[tensor] if tensor in self._reals else self._codes[tensor]

    def unfinished(self) -> Graph:
        """Return what was written so far, without declared outputs."""
        self._refuse_doubles({each for node in self._nodes for each in node.present()})
        constants = {**self.graph.constants, **self._constants}
        return replace(self.graph, nodes=tuple(self._nodes), constants=constants, outputs=(), opset=OPSET)

    def _refuse_doubles(self, used: set[str]) -> None:
        """A name made here may meet one of the float model."""
        names = [*(port.name for port in self.graph.inputs), *self._constants]
        names += [name for name in self.graph.constants if name in used and name not in self.graph.output_names]
        names += [name for node in self._nodes for name in node.outputs if name]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ModelError(
                f"the integer graph needs the name '{twice[0]}' for a value of its own",
                hint="rename that value in the float model",
            )

    def _coarsen(self, tensor: str, least: int) -> str:
        """Requantize to the scale 2^least, in steps that float32 can take."""
        exponent, zero_point = self.encodings[tensor].exponent, self.encodings[tensor].zero_point
        real = self._read_back(tensor)
        while exponent < least:
            exponent = min(exponent + MOST_SHIFT, least)
            codes = f"{tensor}_q{exponent}"
            inputs = self.scalar(2.0**exponent, np.float32), self.scalar(zero_point, np.uint8)
            real = self.node(
                "DequantizeLinear", (self.node("QuantizeLinear", (real, *inputs), codes), *inputs), f"{codes}r"
            )
        return real

    def _narrowed(self, tensor: str, bits: int) -> str:
        key = narrow(tensor, bits)
        if key not in self._read:
            encoding = self.encodings[key]
            self._codes[key] = self._quantize(self._read_back(tensor), encoding, f"{tensor}_q{bits}b", encoding.scale)
            self._read[key] = self._dequantize(key, f"{tensor}_r{bits}b")
        return self._read[key]

    def _read_back(self, tensor: str) -> str:
        if tensor not in self._read:
            self._read[tensor] = self._dequantize(tensor, f"{tensor}_r")
        return self._read[tensor]

    def _quantize(self, source: str, encoding: Encoding, output: str, scale: float) -> str:
        inputs = (source, self.scalar(scale, np.float32), self.scalar(encoding.zero_point, np.uint8))
        if encoding.affine.bits == 8:
            return self.node("QuantizeLinear", inputs, output)
        wide = self.node("QuantizeLinear", inputs, f"{output}8")
        bounds = self.scalar(0, np.uint8), self.scalar(encoding.affine.qmax, np.uint8)
        return self.node("Clip", (wide, *bounds), output)

    def _dequantize(self, tensor: str, output: str) -> str:
        encoding = self.encodings[tensor]
        scale, zero = self.scalar(encoding.scale, np.float32), self.scalar(encoding.zero_point, np.uint8)
        return self.node("DequantizeLinear", (self._codes[tensor], scale, zero), output)


def emit(plan: Plan, encodings: Mapping[str, Encoding], solutions: Mapping[str, Solution]) -> Emission:
    """Write the integer graph of `plan`; the same arguments give the same bytes.

    Args:
        plan: What becomes of every node.
        encodings: Code of every coded tensor.
        solutions: The integers of every layer, by its name.
    """
    emitter = Emitter(plan, encodings, solutions)
    for step in plan.steps:
        _emit_step(emitter, step)
    return Emission(graph=emitter.finish(), solutions=solutions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An integer graph up to a layer.

    Args:
        graph: What comes before the layer, without declared outputs.
        source: Name in it of the layer's input: float values, in the graph's units.
        open: Names in it of what the layer and those after it are made from.
    """

    graph: Graph
    source: str
    open: tuple[str, ...]


class Growing:
    """The integer graph of a plan, written on as its layers are solved.

    Args:
        plan: What becomes of every node.
        encodings: Code of every coded tensor.
        solutions: The integers of layers, by name; read when they are needed.
    """

    def __init__(self, plan: Plan, encodings: Mapping[str, Encoding], solutions: Mapping[str, Solution]) -> None:
        self._plan, self._emitter = plan, Emitter(plan, encodings, solutions)
        self._done = 0

    def until(self, layer: Step) -> Part:
        """Write all steps before `layer`, which is no earlier than the last one asked for."""
        while self._plan.steps[self._done] is not layer:
            _emit_step(self._emitter, self._plan.steps[self._done])
            self._done += 1
        source = read_by(self._emitter, layer)
        names = (self._emitter.holder(tensor) for tensor in open_at(self._plan, layer))
        return Part(graph=self._emitter.unfinished(), source=source, open=tuple(dict.fromkeys(names)))


def open_at(plan: Plan, layer: Step) -> list[str]:
    """The tensors made before `layer` that it or a step after it reads."""
    index = next(number for number, step in enumerate(plan.steps) if step is layer)
    later = {name for step in plan.steps[index:] for node in step.nodes for name in node.present()}
    return [name for step in plan.steps[:index] for name in step.outputs if name in later]


def read_by(emitter: Emitter, step: Step) -> str:
    """The name of a layer's input as it reads it: through its codes where they are static."""
    assert step.recipe is not None  # layers have settings
    tensor = step.nodes[0].inputs[0]
    if step.recipe.activations != "static":
        return emitter.real(tensor)
    return emitter.quantized(tensor, bits=step.recipe.activation_bits)


def _emit_step(emitter: Emitter, step: Step) -> None:
    if step.operator == FLOAT:
        _copy_float(emitter, step)
    else:
        operators()[step.operator].emit(emitter, step)


def _copy_float(emitter: Emitter, step: Step) -> None:
    for node in step.nodes:
        take = emitter.either if node.op in ("Shape", "Size") else emitter.real
        inputs = tuple(
            name if not name or emitter.graph.constant(name) is not None else take(name) for name in node.inputs
        )
        emitter.copy(replace(node, inputs=inputs))
        for output in node.outputs:
            emitter.put_real(output)
