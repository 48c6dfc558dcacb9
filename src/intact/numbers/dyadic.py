"""Powers of two as scales: finding them, taking them off, and requantizing by a shift in integers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import UsageError

SMALLEST_EXPONENT = -24
"""Default lower bound of a chosen exponent, so that an all-zero tensor gets an ordinary scale."""
SHIFT_RANGE = (-30, 62)
"""Shifts `requantize` accepts; a negative one multiplies."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """scale = significand * 2^exponent, exactly, with 1 <= significand < 2."""

    significand: NDArray[np.float64]
    exponent: NDArray[np.int64]


def split(scale: ArrayLike) -> Split:
    """Take the power of two off every scale.

    Raises:
        UsageError: A scale is not positive and finite.
    """
    values = np.asarray(scale, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        raise UsageError("a scale is zero, negative or not finite; wanted positive numbers")
    mantissa, exponent = np.frexp(values)
    return Split(significand=mantissa * 2, exponent=np.asarray(exponent, dtype=np.int64) - 1)


def is_power_of_two(scale: ArrayLike) -> NDArray[np.bool_]:
    """Tell for each scale whether it is 2^k for a whole k."""
    return np.asarray(split(scale).significand == 1.0)


def exponent(scale: ArrayLike) -> NDArray[np.int64]:
    """Return the k of scales that are 2^k.

    Raises:
        UsageError: A scale is not a power of two.
    """
    parts = split(scale)
    if (parts.significand != 1.0).any():
        raise UsageError(
            "a scale is not a power of two", hint="take exponent_nearest, exponent_floor or exponent_ceil of it"
        )
    return parts.exponent


def exponent_floor(scale: ArrayLike) -> NDArray[np.int64]:
    """Return the largest k with 2^k <= scale."""
    return split(scale).exponent


def exponent_ceil(scale: ArrayLike) -> NDArray[np.int64]:
    """Return the smallest k with scale <= 2^k."""
    parts = split(scale)
    return np.asarray(parts.exponent + (parts.significand > 1.0))


def exponent_nearest(scale: ArrayLike) -> NDArray[np.int64]:
    """Return the k nearest to log2(scale); there are no ties, for no float is 2^(k + 1/2) (np.sqrt(2) is above it)."""
    parts = split(scale)
    return np.asarray(parts.exponent + (parts.significand >= np.sqrt(2.0)))


def exponent_covering(
    low: ArrayLike, high: ArrayLike, lowest: ArrayLike, highest: ArrayLike, *, smallest: int = SMALLEST_EXPONENT
) -> NDArray[np.int64]:
    """Return the smallest k >= `smallest` with lowest * 2^k <= low and high <= highest * 2^k.

    Args:
        low: Smallest real values to cover, finite, broadcast with the others.
        high: Largest real values to cover, finite.
        lowest: Lowest code less the zero point, <= 0.
        highest: Highest code less the zero point, >= 0.
        smallest: Lower bound of the result; the answer for a range that is only zero.

    Raises:
        UsageError: A bound is not finite, or lies on a side on which there is no code.
    """
    reach = [np.asarray(bound, dtype=np.float64) for bound in (low, high)]
    steps = [np.asarray(code, dtype=np.float64) for code in (lowest, highest)]
    if not all(np.isfinite(bound).all() for bound in reach):
        raise UsageError("a range to cover holds a NaN or an infinity")
    below = _exponent_reaching(np.maximum(-reach[0], 0), -steps[0], smallest)
    above = _exponent_reaching(np.maximum(reach[1], 0), steps[1], smallest)
    return np.maximum(below, above)


def _exponent_reaching(distance: NDArray[np.float64], codes: NDArray[np.float64], smallest: int) -> NDArray[np.int64]:
    """Return the smallest k >= `smallest` with distance <= codes * 2^k, compared exactly."""
    if ((distance > 0) & (codes <= 0)).any():
        raise UsageError("a range reaches to a side of zero on which the encoding has no code")
    needed, available = split(np.where(distance > 0, distance, 1.0)), split(np.where(codes > 0, codes, 1.0))
    k = needed.exponent - available.exponent + (needed.significand > available.significand)
    return np.where(distance > 0, np.maximum(k, smallest), smallest)


def requantize(
    accumulator: NDArray[np.int64], shift: ArrayLike, zero_point: int, qmin: int, qmax: int
) -> NDArray[np.int64]:
    """Return clip(round_half_even(accumulator * 2^-shift) + zero_point, qmin, qmax) in integer arithmetic.

    Args:
        accumulator: int64, any shape, any value.
        shift: n from -30 to 62, one for all or broadcast, such as one per output channel; negative multiplies.
        zero_point: Added after rounding.
        qmin: Lowest code; like the others less than 2^30 in magnitude.
        qmax: Highest code.

    Raises:
        UsageError: An argument is out of range.
    """
    if accumulator.dtype != np.int64:
        raise UsageError(f"accumulator has type {accumulator.dtype}, wanted int64")
    n = np.asarray(shift, dtype=np.int64)
    if ((n < SHIFT_RANGE[0]) | (n > SHIFT_RANGE[1])).any():
        raise UsageError(f"shift {n.min()} to {n.max()} is outside {SHIFT_RANGE[0]} to {SHIFT_RANGE[1]}")
    if max(abs(qmin), abs(qmax), abs(zero_point)) >= 2**30 or qmin > qmax:
        raise UsageError(f"codes {qmin} to {qmax} with zero point {zero_point} are empty or reach 2^30")
    right, left = np.maximum(n, 0), np.maximum(-n, 0)
    below = accumulator >> right
    rest = accumulator - (below << right)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 1)
    whole = below + ((rest > half) | ((rest == half) & (below & 1 == 1)))
    bounded = np.clip(whole, -(2**31), 2**31)  # already beyond every code, so the left shift cannot overflow
    return np.asarray(np.clip((bounded << left) + zero_point, qmin, qmax))
