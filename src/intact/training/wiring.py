"""Where fake quantization sits in a float graph: a plan read the way the emitter reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intact.compress.encodings import Encoding, narrow
from intact.compress.operators import MOST_APART, MOST_SHIFT, operators
from intact.compress.plan import FLOAT, Plan, Step
from intact.graph.differentiable import Place
from intact.graph.view import Node
from intact.training.quantizers import Activation
from intact.training.straight_through import Quantize

Array = NDArray[Any]
Hook = Callable[[Tensor], Tensor]

FOLDS_RELU = frozenset({"binary", "pool", "product"})
"""Operators of the integer graph in which saturation at the code of zero stands for a Relu at the end."""
ALIGNS = frozenset({"binary", "concat"})
"""Those that bring operands of very different scales nearer to each other first."""
ROW_STEPS = 127.0
LEAST_ROW = 1e-12


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What to put into a `Differentiable`.

    Args:
        activations: Fake quantizers by the names of their encodings.
        owner: For every coded tensor, the name of the encoding it has, its own or that of what it was moved from.
        on_value, on_read: As in `Differentiable`.
        bypass: Outputs of nodes that saturation makes needless.
    """

    activations: dict[str, Activation] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    on_value: dict[str, Hook] = field(default_factory=dict)
    on_read: dict[Place, Hook] = field(default_factory=dict)
    bypass: set[str] = field(default_factory=set)


def wire(plan: Plan, encodings: Mapping[str, Encoding], constants: Mapping[str, Array], *, learn: bool) -> Wiring:
    """Place a fake quantizer wherever the integer graph of `plan` has codes.

    Args:
        plan: The plan.
        encodings: Code of every coded tensor.
        constants: Of the integer graph, for its tables of functions.
        learn: Whether scales are learned; tables then follow them, computed by torch.
    """
    made = _Wirer(plan, encodings, learn=learn)
    for step in plan.steps:
        if step.operator != FLOAT:
            made.step(step)
        if step.operator == "lookup" and not learn:
            made.look_up(step, constants[f"{step.outputs[0]}_table"])
    return made.wiring


class _Wirer:
    """Goes through the steps in order and remembers which tensors are there in codes."""

    def __init__(self, plan: Plan, encodings: Mapping[str, Encoding], *, learn: bool) -> None:
        self._plan, self._encodings, self._learn = plan, encodings, learn
        self._operators = operators()
        self._coded: set[str] = set()
        self.wiring = Wiring()

    def step(self, step: Step) -> None:
        """Place what one step reads and makes."""
        operator = self._operators[step.operator]
        source = ""
        for source in operator.reads(self._plan.graph, step):
            self._read(step, source)
        if step.recipe is not None and step.recipe.activations == "dynamic":
            node = step.nodes[0]
            axes = tuple(range(1, self._plan.graph.constants[node.inputs[1]].ndim)) if node.op == "Conv" else None
            self.wiring.on_read[node.output, node.inputs[0]] = lambda x: by_row(x, axes)
        for output in step.outputs:
            if output in self._plan.coded:
                self._made(step, output, source if operator.moves else "")

    def look_up(self, step: Step, table: Array) -> None:
        """Give a function of one tensor the values of its table, and keep the slope that torch computes.

        The two differ where the last place of a float decides between two codes.
        """
        output = step.outputs[0]
        (source,) = self._operators[step.operator].reads(self._plan.graph, step)
        node = next(node for node in step.nodes if source in node.present())
        before = self.wiring.on_read.get((node.output, source))
        looked_up = _LookUp(table, self._encodings[source], self._encodings[output], before)
        self.wiring.on_read[node.output, source] = looked_up.see
        quantize = self.wiring.on_value[output]
        self.wiring.on_value[output] = lambda y: looked_up.replace(quantize(y))

    def _read(self, step: Step, tensor: str) -> None:
        chain: list[Hook] = []
        if tensor not in self._coded:
            chain.append(self._activation(tensor, reads_factor=True))
        if step.recipe is not None and self._encodings[tensor].affine.bits > step.recipe.activation_bits:
            chain.append(self._activation(narrow(tensor, step.recipe.activation_bits)))
        if step.operator in ALIGNS and step.nodes[0].op != "Mul" and self._plan.power_of_two:
            names = [name for name in step.nodes[0].present() if self._plan.graph.constant(name) is None]
            chain.append(lambda x: self._aligned(x, tensor, names))
        if chain:
            for node in step.nodes:
                if tensor in node.present():
                    self.wiring.on_read[node.output, tensor] = _one_after_other(chain)

    def _made(self, step: Step, output: str, moved_from: str) -> None:
        """Values that only moved lie on the grid they came from; but the bounds of a Clip may not.

        A smoothed value stays real until it is read.
        """
        if self._encodings[output].factor.ndim:
            return
        self._coded.add(output)
        if moved_from:
            self.wiring.owner[output] = self.wiring.owner[moved_from]
            if step.nodes[-1].op == "Clip":
                self.wiring.on_value[output] = self.wiring.activations[self.wiring.owner[moved_from]]
            return
        self.wiring.on_value[output] = self._activation(output)
        relu: Node = step.nodes[-1]
        if step.operator in FOLDS_RELU and len(step.nodes) > 1 and relu.op == "Relu":
            self.wiring.bypass.add(relu.output)

    def _activation(self, key: str, *, reads_factor: bool = False) -> Activation:
        self.wiring.owner[key] = key
        if key not in self.wiring.activations:
            self.wiring.activations[key] = Activation(
                self._encodings[key],
                power_of_two=self._plan.power_of_two,
                learn=self._learn and not reads_factor,
                reads_factor=reads_factor,
            )
        return self.wiring.activations[key]

    def _aligned(self, x: Tensor, tensor: str, names: list[str]) -> Tensor:
        """Through codes of coarser scales where the operands' scales lie too far apart."""
        steps = {name: self._now(name) for name in names}
        exponent = round(np.log2(steps[tensor]))
        least = max(round(np.log2(step)) for step in steps.values()) - MOST_APART
        affine = self._encodings[tensor].affine
        zero = int(affine.zero_point)
        while exponent < least:
            exponent = min(exponent + MOST_SHIFT, least)
            step = 2.0**exponent
            x = Quantize.apply(x, None, step, step, float(-zero), float(255 - zero))
        return x

    def _now(self, tensor: str) -> float:
        return self.wiring.activations[self.wiring.owner[tensor]].step


class _LookUp:
    """Remembers what a function was given, and puts the table's values in the place of what it made of that."""

    def __init__(self, table: Array, source: Encoding, target: Encoding, before: Hook | None) -> None:
        self._table = torch.from_numpy((table.astype(np.float32) - target.zero_point) * np.float32(target.scale))
        self._zero, self._scale, self._before = source.zero_point, source.scale, before
        self._codes = torch.zeros(0, dtype=torch.int64)

    def see(self, x: Tensor) -> Tensor:
        """Remember the codes of `x`."""
        x = x if self._before is None else self._before(x)
        codes = (x.detach().float() / self._scale).round().nan_to_num() + self._zero  # a NaN stays in the slope
        self._codes = codes.clamp(0, len(self._table) - 1).to(torch.int64)
        return x

    def replace(self, y: Tensor) -> Tensor:
        """The table's values, with the gradient of `y`."""
        exact = self._table.to(y.device)[self._codes].to(y.dtype)
        self._codes = self._codes[:0]
        return y + (exact - y).detach()


def by_row(x: Tensor, axes: tuple[int, ...] | None) -> Tensor:
    """Through codes of each row's own reach over 127: about zero over `axes`, or about its middle on the last axis."""
    seen, middle = x.detach(), torch.zeros(())
    if axes is None:
        low, high = torch.aminmax(seen, dim=-1, keepdim=True)
        middle, reach = (high + low) * 0.5, (high - low) * 0.5
    else:
        reach = seen.abs().amax(axes, keepdim=True)
    row, step = reach.clamp_min(LEAST_ROW), 1.0 / ROW_STEPS
    return Quantize.apply((x - middle) / row, None, step, step, -128.0, 127.0) * row + middle


def _one_after_other(chain: list[Hook]) -> Hook:
    def run(x: Tensor) -> Tensor:
        for hook in chain:
            x = hook(x)
        return x

    return run


def table_of(constants: Mapping[str, Array], layer: str) -> Tensor:
    """The real values of an embedding table that was written as codes and row scales."""
    codes, scales = constants[f"{layer}.w"], constants[f"{layer}.s"]
    return torch.from_numpy(codes.astype(np.float32) * scales)
