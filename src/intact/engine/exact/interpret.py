"""The interpreter: a program prepared once, then run on inputs, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from intact.engine.exact import floats
from intact.engine.exact.call import Call
from intact.engine.exact.obligations import breaches_of
from intact.engine.exact.rules import RULES, SELECTING
from intact.engine.exact.value import Array, Exact, InexactError, Value, to_float32
from intact.engine.spec import graph_of
from intact.errors import ModelError
from intact.graph.program import Program

Disturb: TypeAlias = Callable[[str, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node, ready to run.

    Args:
        name: The node's name, or its first output where it has none.
        node: The node itself.
        attributes: Its attribute values by name.
        known: For each input, whether it is the same for every input of the graph.
        inner: Whether another node reads its outputs.
        drop: Values that no later step needs.
        evaluate: The operator on plain arrays.
        opset: Version of the ONNX operator set.
    """

    name: str
    node: onnx.NodeProto
    attributes: Mapping[str, Any]
    known: tuple[bool, ...]
    inner: bool
    drop: tuple[str, ...]
    evaluate: floats.Evaluator
    opset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A program ready to be interpreted: constants folded, the remaining steps in order."""

    constants: Mapping[str, Value]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    notes: Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What keeps a graph from giving the same bits on every host.

    Args:
        departures: Nodes that computed in floating point, with the reason.
        breaches: Exact nodes whose values a float32 engine may fail to hold, with the bound.
    """

    departures: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one run gave: outputs by name, and the notes of every node."""

    outputs: Mapping[str, Array]
    notes: Notes


def prepare(program: Program) -> Plan:
    """Read a program and evaluate what does not depend on its inputs.

    Raises:
        ModelError: An initializer is missing, or an operator is unknown to the definition.
    """
    proto = graph_of(program)
    constants = _initializers(proto.graph, program)
    outputs = tuple(output.name for output in proto.graph.output)
    steps, notes = [], Notes()
    for step in _steps(proto, set(constants), outputs):
        if all(step.known):
            produced, found = _run(step, constants)
            constants.update(produced)
            notes = _joined(notes, found)
        else:
            steps.append(step)
    return Plan(constants=constants, steps=tuple(steps), outputs=outputs, notes=notes)


def execute(plan: Plan, inputs: Mapping[str, Array], disturb: Disturb | None = None) -> Trace:
    """Run the plan on inputs that are already checked.

    Args:
        plan: The program.
        inputs: Its inputs by name.
        disturb: Changes the float32 values that a step computed in floating point; called with their name and array.
    """
    values: dict[str, Value] = {**plan.constants, **inputs}
    notes = plan.notes
    for step in plan.steps:
        produced, found = _run(step, values)
        if disturb is not None and found.departures:
            produced = {name: _disturbed(name, value, disturb) for name, value in produced.items()}
        values.update(produced)
        notes = _joined(notes, found)
        for name in step.drop:
            del values[name]
    quotients = [name for name in plan.outputs if isinstance(v := values[name], Exact) and v.divisor != 1]
    notes = _joined(notes, Notes(breaches=tuple(f"output '{name}' is a quotient, rounded" for name in quotients)))
    return Trace(outputs={name: to_float32(values[name]) for name in plan.outputs}, notes=notes)


def _disturbed(name: str, value: Value, disturb: Disturb) -> Value:
    return value if isinstance(value, Exact) or value.dtype.kind != "f" else disturb(name, value)


def _initializers(graph: onnx.GraphProto, program: Program) -> dict[str, Value]:
    return {
        initializer.name: program.tensors[initializer.name]
        if initializer.data_location == onnx.TensorProto.EXTERNAL
        else onnx.numpy_helper.to_array(initializer)
        for initializer in graph.initializer
    }


def _steps(proto: onnx.ModelProto, known: set[str], outputs: Sequence[str]) -> list[Step]:
    last = {name: index for index, node in enumerate(proto.graph.node) for name in node.input if name}
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    steps = []
    for index, node in enumerate(proto.graph.node):
        is_known = tuple(not name or name in known for name in node.input)
        if all(is_known):
            known.update(node.output)
        done = [n for n in dict.fromkeys(node.input) if n and last[n] == index and n not in known and n not in outputs]
        unread = [n for n in node.output if n and n not in last and n not in outputs and n not in known]
        steps.append(
            Step(
                name=node.name or next((n for n in node.output if n), node.op_type),
                node=node,
                attributes={a.name: _attribute(a) for a in node.attribute},
                known=is_known,
                inner=any(name in last for name in node.output),
                drop=(*done, *unread),
                evaluate=floats.evaluator(node, proto.opset_import),
                opset=opset,
            )
        )
    return steps


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _run(step: Step, values: Mapping[str, Value]) -> tuple[dict[str, Value], Notes]:
    """Evaluate one step exactly, or in float32 with a note that says why."""
    operands = [values[name] if name else None for name in step.node.input]
    call = Call(
        op=step.node.op_type,
        attributes=step.attributes,
        inputs=operands,
        outputs=len(step.node.output),
        known=step.known,
        opset=step.opset,
    )
    try:
        results, reason = _exactly(call, step)
    except InexactError as error:
        plain = [None if operand is None else to_float32(operand) for operand in operands]
        results, reason = [np.asarray(r) for r in step.evaluate(plain)], _departure(call, plain, str(error))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelError(f"node '{step.name}' ({call.op}) cannot be applied to its operands: {error}") from error
    found = Notes(
        departures=(f"{step.name} ({call.op}): {reason}",) if reason else (),
        breaches=tuple(f"{step.name} ({call.op}): {breach}" for breach in breaches_of(call, results)),
    )
    return {name: value for name, value in zip(step.node.output, results, strict=False) if name}, found


def _exactly(call: Call, step: Step) -> tuple[list[Value], str]:
    rule = RULES.get(call.op) if step.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise InexactError("no exact rule for this operator")
    results = rule(call, step.evaluate)
    free = call.op == "DequantizeLinear" and step.inner and not isinstance(results[0], Exact)
    return results, "its scale is no power of two and its output is used inside the graph" if free else ""


def _departure(call: Call, operands: Sequence[Array | None], reason: str) -> str:
    """Return why this evaluation may differ between hosts, or "" where it cannot."""
    exact_inputs = any(isinstance(value, Exact) for value in call.inputs)
    floating = any(operand is not None and operand.dtype.kind in "fc" for operand in operands)
    return "" if (call.op in SELECTING and not exact_inputs) or not floating else reason


def _joined(a: Notes, b: Notes) -> Notes:
    if not b.departures and not b.breaches:
        return a
    return Notes(departures=a.departures + b.departures, breaches=a.breaches + b.breaches)
