"""Exact values: integer mantissas with power-of-two exponents.

A value is `mantissa * 2**exponent / divisor`. Mantissas are int64, exponents are integers that broadcast against them,
and every operation either keeps the value exactly or raises `InexactError`. Nothing here rounds, except `to_float32`,
which says when it does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Array: TypeAlias = NDArray[Any]

HEADROOM_BITS = 62
"""Mantissas and their bounds stay below 2**62, so that one int64 addition cannot wrap."""


class InexactError(Exception):
    """This operation has no exact result here; its message says why. Caught by the interpreter, never by users."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exact:
    """The real numbers `mantissa * 2**exponent / divisor`.

    Args:
        mantissa: int64, any shape.
        exponent: int64, broadcasts to the mantissa's shape; 0-d when one exponent serves all.
        bound: int64, broadcasts to the mantissa's shape; no input of the graph makes |mantissa| exceed it.
        divisor: Positive and odd; 1 except for the mean over a window whose count is no power of two.
    """

    mantissa: Ints
    exponent: Ints
    bound: Ints
    divisor: int = 1

    @property
    def largest(self) -> int:
        """The bound over the whole array."""
        return int(self.bound.max(initial=0))


Value: TypeAlias = Exact | Array
"""What an edge of the graph carries: an exact value, or a plain array (codes, indices, float32)."""


def constant(mantissa: Array, exponent: int | Array = 0) -> Exact:
    """Return a value known before any input is, whose bound is therefore its own magnitude."""
    m = np.asarray(mantissa, dtype=np.int64)
    return Exact(mantissa=m, exponent=np.asarray(exponent, dtype=np.int64), bound=np.abs(m))


def from_float(x: Array) -> Exact:
    """Return finite float32 constants as the exact values they are.

    Raises:
        InexactError: x has a NaN or an infinity.
    """
    x = np.asarray(x, dtype=np.float64)
    if not np.isfinite(x).all():
        raise InexactError("a constant is not finite")
    fraction, exponent = np.frexp(x)
    mantissa = np.ldexp(fraction, 24).astype(np.int64)  # float32 has 24 significant bits
    return constant(mantissa, np.where(mantissa == 0, 128, exponent.astype(np.int64) - 24))  # zero takes any exponent


def to_float32(value: Value) -> Array:
    """Return plain arrays as they are and exact values as float32.

    Returns:
        The value itself where |mantissa| < 2**24 and divisor == 1; else the nearest float32 (quotients are rounded in
        float64 first, which does not change the nearest float32 for |mantissa| and divisor below 2**24).

    Source:
        Figueroa 1995, "When is double rounding innocuous?": 53 >= 2 * 24 + 2.
    """
    if not isinstance(value, Exact):
        return value
    real = np.ldexp(value.mantissa.astype(np.float64), value.exponent.astype(np.int32))
    with np.errstate(over="ignore"):
        return np.asarray(real / value.divisor if value.divisor != 1 else real).astype(np.float32)


def shift_left(mantissa: Ints, bound: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Return both arguments times 2**places, with places >= 0.

    Raises:
        InexactError: The bound would leave the headroom.
    """
    if not places.any():
        return mantissa, bound
    guard(np.ldexp(bound.astype(np.float64), places.astype(np.int32)))
    safe = np.minimum(places, HEADROOM_BITS)  # beyond it only zeros passed the guard
    return mantissa << safe, bound << safe


def guard(bound: NDArray[np.float64]) -> None:
    """Raise InexactError unless every bound, computed in float64, stays below 2**62."""
    if bound.size and not float(np.max(bound)) < 2.0**HEADROOM_BITS:
        raise InexactError(f"a mantissa may need more than {HEADROOM_BITS} bits")


def rescale(value: Exact, exponent: Ints) -> Exact:
    """Return `value` written with the given exponent, which must nowhere exceed its own."""
    mantissa, bound = shift_left(value.mantissa, value.bound, value.exponent - exponent)
    return Exact(mantissa=mantissa, exponent=exponent, bound=bound, divisor=value.divisor)


def align(value: Exact, axes: Sequence[int] | None = None) -> Exact:
    """Return `value` with one exponent along `axes` (default: everywhere); 0-d where one serves all."""
    exponent = value.exponent
    if exponent.ndim == 0:
        return value
    if axes is None or exponent.size == 1:
        return rescale(value, np.asarray(exponent.min()))
    exponent = exponent.reshape((1,) * (value.mantissa.ndim - exponent.ndim) + exponent.shape)
    return rescale(value, exponent.min(axis=tuple(axes), keepdims=True))


def over(value: Exact, divisor: int) -> Exact:
    """Return `value` written over a multiple of its divisor."""
    factor = divisor // value.divisor
    if factor == 1:
        return value
    guard(value.bound.astype(np.float64) * factor)
    return Exact(mantissa=value.mantissa * factor, exponent=value.exponent, bound=value.bound * factor, divisor=divisor)


def divide(value: Exact, count: int) -> Exact:
    """Return `value / count`; the powers of two in `count` go to the exponent."""
    twos = (count & -count).bit_length() - 1
    return Exact(
        mantissa=value.mantissa,
        exponent=value.exponent - twos,
        bound=value.bound,
        divisor=value.divisor * (count >> twos),
    )


def common(values: Sequence[Exact]) -> list[Exact]:
    """Return the values over one divisor and with one exponent, elementwise where they have several."""
    divisor = math.lcm(*(value.divisor for value in values))
    exponent = values[0].exponent
    for value in values[1:]:
        exponent = np.minimum(exponent, value.exponent)
    return [rescale(over(value, divisor), exponent) for value in values]
