"""When may an engine compute an exact node in float32? The limits of docs/spec/integer-graph.md, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from intact.engine.exact.call import Call
from intact.engine.exact.codes import power_of_two
from intact.engine.exact.value import Exact, Value

MANTISSA_LIMIT: Final = 1 << 24
"""float32 holds every integer up to this."""

SHIFT_LIMIT: Final = 16
"""With a zero point, a code (8 bits) and the bits shifted out must fit into 24 together."""

LEFT_LIMIT: Final = 4
"""A code's scale may lie this far below the unit of what it rounds."""

SPREAD_LIMIT: Final = 10
"""The exponents of two codes that are added may lie this far apart; with `LEFT_LIMIT`, 510 * 2**14 fits 24 bits."""

EXPONENTS: Final = range(-126, 104)
"""Between these, mantissas below 2**24 are neither subnormal nor infinite in float32."""

DIVISOR_LIMIT: Final = 4096
"""Up to this, the nearest tie lies further away than a float32 quotient can err."""


def breaches_of(call: Call, results: Sequence[Value]) -> list[str]:
    """Return what in this node a float32 engine may fail to hold."""
    found = [
        f"a value may reach {result.largest}, the limit is {MANTISSA_LIMIT - 1}"
        for result in results
        if isinstance(result, Exact) and result.largest >= MANTISSA_LIMIT
    ]
    found += [
        f"an exponent is {edge}, the limits are {EXPONENTS[0]} and {EXPONENTS[-1]}"
        for result in results
        if isinstance(result, Exact)
        for edge in {int(result.exponent.min()), int(result.exponent.max())}
        if edge not in EXPONENTS
    ]
    x = call.optional(0)
    if call.op in ("Add", "Sub") and not any(call.known) and isinstance(x, Exact):
        other = call.optional(1)
        found += _addition(x, other) if isinstance(other, Exact) else []
    if call.op == "QuantizeLinear" and isinstance(x, Exact):
        found += _quantizer(call, x)
    return found


def _addition(a: Exact, b: Exact) -> list[str]:
    exponents = [int(edge) for x in (a, b) for edge in (x.exponent.min(), x.exponent.max())]
    spread = max(exponents) - min(exponents)
    return [f"it adds codes {spread} places apart, the limit is {SPREAD_LIMIT}"] if spread > SPREAD_LIMIT else []


def _quantizer(call: Call, x: Exact) -> list[str]:
    exponent = power_of_two(call.array(1))
    if exponent is None:
        return []
    shift = int(exponent.max()) - int(x.exponent.min())
    zero = np.zeros((), np.uint8) if call.optional(2) is None else call.array(2)
    found = []
    if shift > 0 and (zero % 2 != 0).any():
        found.append("its zero point is odd, so engines that add it before rounding take ties the other way")
    if zero.any() and shift > SHIFT_LIMIT:
        found.append(f"it shifts {shift} places with a zero point, the limit is {SHIFT_LIMIT}")
    if int(exponent.min()) - int(x.exponent.max()) < -LEFT_LIMIT:
        found.append(f"its scale lies more than {LEFT_LIMIT} places below the unit of its operand")
    if x.divisor != 1 and (shift > 0 or x.divisor > DIVISOR_LIMIT):
        found.append(f"it rounds a mean over {x.divisor} * 2^n values and shifts {shift} places, which may meet a tie")
    return found
