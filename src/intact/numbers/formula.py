"""The map every code of the package is an instance of: Q(x) = floor(C*x + d) mod p."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import DataError, UsageError

EXACT_LIMIT = 2**52
"""Below this magnitude every float64 has its neighbouring integers as float64s too."""
MODULUS_LIMIT = 2**62
"""Largest modulus: codes and their sums of two stay inside int64."""


class Overflow(StrEnum):
    """What happens to an integer outside the window [low, low + p)."""

    SATURATE = "saturate"
    WRAP = "wrap"
    RAISE = "raise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The half-open set low <= x < high of real numbers, both ends finite."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(f"interval [{self.low}, {self.high}) is empty or not finite")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preimage:
    """All that a code says about the number it came from: low <= x < high.

    Args:
        value: Middle of the interval, the reconstruction.
        low: Smallest x with this code; -inf for the lowest code of a saturating formula.
        high: Least upper bound of x with this code; +inf for the highest code of a saturating formula.
        error: |x - value| <= error wherever nothing saturated: 1 / (2C).
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Q(x) = floor(C*x + d) mod p, its codes taken from the window [low, low + p).

    Args:
        scale: C > 0, codes per unit of x.
        offset: d, added before the floor.
        modulus: p, the number of codes, 2 to 2^62.
        overflow: What happens outside the window: `saturate`, `wrap` (the mod of the formula) or `raise`.
        low: Lowest code. 0 is the formula as written; -p/2 reads wrapped codes as signed.

    Raises:
        UsageError: A parameter is out of range.
    """

    scale: float
    offset: float
    modulus: int
    overflow: Overflow
    low: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "overflow", Overflow(self.overflow))
        if not 2.0**-400 <= self.scale <= 2.0**400:
            raise UsageError(f"scale C is {self.scale}, wanted a positive number between 2^-400 and 2^400")
        if not abs(self.offset) < EXACT_LIMIT:
            raise UsageError(f"offset d is {self.offset}, wanted less than 2^52 in magnitude")
        if not 2 <= self.modulus <= MODULUS_LIMIT:
            raise UsageError(f"modulus p is {self.modulus}, wanted 2 to 2^62")
        if abs(self.low) > MODULUS_LIMIT:
            raise UsageError(f"lowest code is {self.low}, wanted at most 2^62 in magnitude")
        if self.overflow is Overflow.SATURATE and max(abs(self.low), abs(self.top)) > EXACT_LIMIT:
            raise UsageError(
                f"codes {self.low} to {self.top} cannot saturate exactly, wanted at most 2^52 in magnitude"
            )

    @property
    def top(self) -> int:
        """Highest code."""
        return self.low + self.modulus - 1

    def apply(self, x: ArrayLike) -> NDArray[np.int64]:
        """Return the codes of `x`, the floor taken of the exact real number C*x + d.

        Args:
            x: Finite values, read as float64, any shape.

        Returns:
            Codes in [low, low + p), int64, in the shape of x.

        Raises:
            DataError: x has a NaN or an infinity, an integer leaves the window of a raising formula, or C*x + d
                reaches 2^52 in magnitude where that matters.
        """
        values = np.asarray(x, dtype=np.float64)
        if not np.isfinite(values).all():
            raise DataError("values to encode hold a NaN or an infinity")
        whole = _exact_floor(self.scale, values, self.offset)
        if self.overflow is Overflow.SATURATE:
            return np.clip(whole, self.low, self.top).astype(np.int64)
        if whole.size and np.abs(whole).max() >= EXACT_LIMIT:
            raise DataError(f"C*x + d reaches {np.abs(whole).max():.3g}, wanted less than 2^52")
        integers = whole.astype(np.int64)
        if self.overflow is Overflow.WRAP:
            return np.mod(integers - self.low, self.modulus) + self.low
        return self._inside(integers)

    def invert(self, codes: ArrayLike) -> Preimage:
        """Return the numbers `codes` stand for, with bounds.

        A wrapping formula is read without knowledge of the domain: code q means C*x + d in [q, q + 1). That is right
        on every domain that `require_invertible` accepts, and off by a multiple of p/C elsewhere.

        Raises:
            DataError: A code is outside the window.
        """
        integers = self._inside(np.asarray(codes, dtype=np.int64))
        start = integers.astype(np.float64) - self.offset
        low, high = start / self.scale, (start + 1) / self.scale
        if self.overflow is Overflow.SATURATE:
            low = np.where(integers == self.low, -np.inf, low)
            high = np.where(integers == self.top, np.inf, high)
        return Preimage(value=(start + 0.5) / self.scale, low=low, high=high, error=0.5 / self.scale)

    def invertible(self, domain: Interval) -> bool:
        """Tell whether |x - invert(apply(x)).value| <= 1/(2C) for every x of `domain`, in rational arithmetic."""
        start, end = _image(self.scale, self.offset, domain)
        return self.low <= start and end <= self.low + self.modulus

    def require_invertible(self, domain: Interval) -> None:
        """Refuse the formula if some x of `domain` cannot be had back from its code.

        Example: C=256, d=128, p=256 on [0, 1) gives the integers 128 to 383. The upper half folds onto codes 0 to
        127, which read back as [-0.5, 0); and on [0, 1] the two ends share one code.

        Raises:
            UsageError: `invertible` is false; the hint names a C that works with this d, if there is one.
        """
        if self.invertible(domain):
            return
        start, end = _image(self.scale, self.offset, domain)
        suggestion = self.largest_scale(domain)
        deed = {
            "wrap": "wrap to codes that read back as other values",
            "saturate": "are cut off",
            "raise": "are refused",
        }
        raise UsageError(
            f"C={self.scale:g}, d={self.offset:g} maps [{domain.low:g}, {domain.high:g}) to the integers "
            f"{math.floor(start)} to {math.ceil(end) - 1}, but the codes are {self.low} to {self.top}: "
            f"those outside {deed[self.overflow]}",
            hint=f"choose C = {suggestion!r} with this d"
            if suggestion is not None
            else f"no C works with d={self.offset:g}; choose d in the middle, {self.low + self.modulus // 2}",
        )

    def largest_scale(self, domain: Interval) -> float | None:
        """Return the largest float C that is invertible on `domain` with this d, p and window, or None."""
        d, low, top = Fraction(self.offset), self.low, self.low + self.modulus
        limits = [2.0**400]
        if domain.low < 0:
            limits.append(_float_below((d - low) / -Fraction(domain.low)))
        if domain.high > 0:
            limits.append(_float_below((top - d) / Fraction(domain.high)))
        scale = min(limits)
        if scale < 2.0**-400:
            return None
        start, end = _image(scale, self.offset, domain)
        return scale if low <= start and end <= top else None

    def _inside(self, integers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return `integers` unchanged, or refuse the first one outside the window."""
        outside = (integers < self.low) | (integers > self.top)
        if outside.any():
            raise DataError(f"code {integers[outside].flat[0]} is outside {self.low} to {self.top}")
        return integers


def _image(scale: float, offset: float, domain: Interval) -> tuple[Fraction, Fraction]:
    """Return the exact ends of C*x + d over the half-open domain."""
    c, d = Fraction(scale), Fraction(offset)
    return c * Fraction(domain.low) + d, c * Fraction(domain.high) + d


def _float_below(value: Fraction) -> float:
    """Return the largest float64 <= value, held between 0 and 2^400."""
    bounded = min(max(value, Fraction(0)), Fraction(2) ** 400)
    near = float(bounded)
    return near if Fraction(near) <= bounded else math.nextafter(near, -math.inf)


def _exact_floor(scale: float, x: NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    """Return floor(scale*x + offset) of the real number, not of its float64 rounding.

    The product and the sums are carried as unevaluated pairs. Exact while |result| < 2^52 and the product is 0 or at
    least 2^-900 in magnitude; larger results keep their sign and size, so that they still saturate the right way.

    Source:
        Dekker 1971, A floating-point technique for extending the available precision; Knuth, TAOCP 2, 4.2.2.
    """
    bounded = np.clip(x, -(2.0**500), 2.0**500)
    product, product_error = _two_product(scale, bounded)
    total, total_error = _two_sum(product, np.float64(offset))
    rest, rest_error = _two_sum(total_error, product_error)
    total, tail = _two_sum(total, rest)
    below = np.floor(total)
    return np.asarray(below - ((below == total) & (tail + rest_error < 0)))


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Return s, e with s = fl(a + b) and s + e = a + b exactly."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def _two_product(a: float, b: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return p, e with p = fl(a*b) and p + e = a*b exactly."""
    p = a * b
    a_high, a_low = _halves(np.float64(a))
    b_high, b_low = _halves(b)
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Any) -> tuple[Any, Any]:
    """Split a float64 into two of at most 26 significant bits each."""
    scaled = 134217729.0 * a  # 2^27 + 1
    high = scaled - (scaled - a)
    return high, a - high
