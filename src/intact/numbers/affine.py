"""Real tensors to affine integer codes and back.

The affine code with scale s and zero point z, rounding half up, is the formula Q(x) = floor(C*x + d) mod p of
`intact.numbers.formula` with C = 1/s, d = z + 1/2, p = 2^bits, saturating instead of wrapping, its window starting at
the lowest code: floor(x/s + z + 1/2) = floor(x/s + 1/2) + z, for z is whole. Stochastic rounding is the same with d
drawn uniformly from [z, z + 1). `half_even`, the default because IEEE hardware and ONNX round so, differs at exact
ties only. For s = 2^k the two agree bit for bit; otherwise up to the rounding of x/s to float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import DataError, UsageError
from intact.numbers.encoding import Affine
from intact.numbers.formula import Formula, Overflow
from intact.numbers.rounding import Rounding, rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """Integer codes and what they mean.

    Args:
        q: Codes in [qmin, qmax], int8 or uint8 as the encoding says.
        encoding: Their meaning.

    Raises:
        UsageError: The type is another, a code is out of range, or the shape does not fit the encoding.
    """

    q: NDArray[Any]
    encoding: Affine

    def __post_init__(self) -> None:
        if self.q.dtype != self.encoding.dtype:
            raise UsageError(f"codes have type {self.q.dtype}, wanted {self.encoding.dtype}")
        if self.q.size and (self.q.min() < self.encoding.qmin or self.q.max() > self.encoding.qmax):
            raise UsageError(
                f"codes {self.q.min()} to {self.q.max()} leave the range {self.encoding.qmin} to {self.encoding.qmax}"
            )
        self.encoding.spread(self.encoding.scale, self.q.shape)

    @property
    def centred(self) -> NDArray[np.int64]:
        """Codes less their zero point, int64: the exact integers that matrix products add up."""
        return np.asarray(self.q.astype(np.int64) - self.encoding.spread(self.encoding.zero_point, self.q.shape))


def quantize(
    x: ArrayLike,
    encoding: Affine,
    rounding: Rounding = Rounding.HALF_EVEN,
    generator: np.random.Generator | None = None,
) -> Codes:
    """Round `x` to codes of `encoding`: clip(round(float32(x / s)) + z, qmin, qmax).

    Args:
        x: Real values, converted to float32, any shape that fits the encoding. Must be finite.
        encoding: Scale per tensor, per channel or per group; bits 2 to 8.
        rounding: Rule for numbers between two codes.
        generator: Source of draws for stochastic rounding.

    Returns:
        Codes with |x - dequantize(codes)| <= scale/2 (up to float32 rounding) wherever x lies in the encoding's range;
        < scale for floor and stochastic.

    Raises:
        DataError: x has a NaN, an infinity, or a value beyond float32.
        UsageError: The shape does not fit the encoding, or the generator does not fit the rounding.

    Source:
        Jacob et al. 2018, arXiv:1712.05877, section 2.1.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(x).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError("values to quantize hold a NaN, an infinity, or a number beyond float32")
    zero = encoding.spread(encoding.zero_point, values.shape)
    with np.errstate(over="ignore", under="ignore"):
        steps = values / encoding.spread(encoding.scale, values.shape)
    low, high = encoding.qmin - zero, encoding.qmax - zero
    near = np.clip(steps, (low - 1).astype(np.float32), (high + 1).astype(np.float32))  # exact: rounding is monotone
    whole = rounded(near, rounding, generator).astype(np.int64)
    return Codes(q=(np.clip(whole, low, high) + zero).astype(encoding.dtype), encoding=encoding)


def dequantize(codes: Codes) -> NDArray[np.float32]:
    """Return (q - z) * s in float32, rounded once."""
    steps = codes.centred.astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(steps * codes.encoding.spread(codes.encoding.scale, codes.q.shape), dtype=np.float32)


def formula(encoding: Affine) -> Formula:
    """Return the formula that a per-tensor `encoding` is, with half-up rounding.

    Raises:
        UsageError: The encoding has more than one scale; each channel is a formula of its own.
    """
    if encoding.scale.ndim or encoding.zero_point.ndim:
        raise UsageError("a per-channel encoding is one formula per channel, wanted a per-tensor encoding")
    return Formula(
        scale=1.0 / float(encoding.scale),
        offset=int(encoding.zero_point) + 0.5,
        modulus=encoding.qmax - encoding.qmin + 1,
        overflow=Overflow.SATURATE,
        low=encoding.qmin,
    )
