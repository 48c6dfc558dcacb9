"""Operators that only move elements: they act on mantissas as on any array."""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.engine.exact.call import Call
from intact.engine.exact.floats import Evaluator
from intact.engine.exact.value import Array, Exact, Value, align, common, from_float

ONE_SOURCE: Final = frozenset(
    {
        *("DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape"),
        *("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    }
)
"""Operators whose only data operand is the first; the others are indices, shapes and axes."""


def move(call: Call, evaluate: Evaluator) -> list[Value]:
    """Apply an operator of `ONE_SOURCE` to an exact value, or to a plain array."""
    value = call.inputs[0]
    rest = [call.array(i) if call.optional(i) is not None else None for i in range(1, len(call.inputs))]
    if not isinstance(value, Exact):
        return [*evaluate([value, *rest])]

    def part(x: Array) -> list[Array]:
        return [np.asarray(moved) for moved in evaluate([x, *rest])]

    mantissas = part(value.mantissa)
    count = len(mantissas)
    exponents = [value.exponent] * count if value.exponent.ndim == 0 else part(_spread(value.exponent, value))
    bounds = part(_spread(value.bound, value)) if call.known[0] else [np.asarray(value.largest)] * count
    return [
        Exact(mantissa=m, exponent=e, bound=b, divisor=value.divisor)
        for m, e, b in zip(mantissas, exponents, bounds, strict=True)
    ]


def _spread(part: Array, value: Exact) -> Array:
    return np.ascontiguousarray(np.broadcast_to(part, value.mantissa.shape))


def concat(call: Call, evaluate: Evaluator) -> list[Value]:
    """Join exact values over one exponent; or plain arrays."""
    if not any(isinstance(value, Exact) for value in call.inputs):
        return [*evaluate([call.array(i) for i in range(len(call.inputs))])]
    values = common([align(call.exact(i)) for i in range(len(call.inputs))])
    largest = np.asarray(max(value.largest for value in values))
    mantissa = np.concatenate([value.mantissa for value in values], axis=int(call.attributes["axis"]))
    return [Exact(mantissa=mantissa, exponent=values[0].exponent, bound=largest, divisor=values[0].divisor)]


def pad(call: Call, evaluate: Evaluator) -> list[Value]:
    """Pad an exact value with a constant, or a plain array with a plain one."""
    value, fill = call.inputs[0], call.optional(2)
    axes = call.array(3) if call.optional(3) is not None else None
    if not isinstance(value, Exact):
        operands = [call.array(0), call.array(1), None if fill is None else call.array(2), axes]
        return [*evaluate(operands[: len(call.inputs)])]
    x, edge = align(value), None
    if fill is not None:
        x, edge = common([x, align(fill if isinstance(fill, Exact) else from_float(fill))])
    operands = [x.mantissa, call.array(1), None if edge is None else edge.mantissa.reshape(()), axes]
    mantissa = np.asarray(evaluate(operands[: len(call.inputs)])[0])
    largest = np.asarray(max(x.largest, 0 if edge is None else edge.largest))
    return [Exact(mantissa=mantissa, exponent=x.exponent, bound=largest, divisor=x.divisor)]
