"""Affine encodings: what an integer code means as a real number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.numbers import dyadic

MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, init=False)
class Affine:
    """Code q means (q - zero_point) * scale.

    Args:
        bits: Width of a code, 2 to 8.
        signed: Codes from -2^(bits-1), or from 0.
        scale: Positive normal float32. Shape () per tensor; (K,) per channel with `axis`; with `axis` and `group`, the
            shape of the tensor with dimension `axis` divided by `group` (as ONNX's blocked quantization).
        zero_point: Code of 0.0: one for all, or one per scale.
        axis: Dimension the channels or groups run along, None per tensor; negative counts from the end.
        group: Neighbours along `axis` that share a scale, None per tensor or per channel.
        narrow: Leave out the lowest signed code, so that the range is symmetric (-127 to 127).

    Raises:
        UsageError: The parts do not fit together; the message says which.
    """

    bits: int
    signed: bool
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int | None
    group: int | None
    narrow: bool

    def __init__(
        self,
        *,
        scale: Any,
        zero_point: Any = 0,
        bits: int = 8,
        signed: bool = False,
        axis: int | None = None,
        group: int | None = None,
        narrow: bool = False,
    ) -> None:
        for name, value in (
            ("bits", bits),
            ("signed", signed),
            ("scale", _frozen_scale(scale)),
            ("zero_point", _frozen(np.array(zero_point), np.int64)),
            ("axis", axis),
            ("group", group),
            ("narrow", narrow),
        ):
            object.__setattr__(self, name, value)
        self._validate()

    def _validate(self) -> None:
        """Refuse parts that do not fit together."""
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise UsageError(f"encoding has {self.bits} bits, wanted {MIN_BITS} to {MAX_BITS}")
        if self.narrow and not self.signed:
            raise UsageError("a narrow range was asked of an unsigned encoding, wanted a signed one")
        if self.group is not None and (self.axis is None or self.group < 1):
            raise UsageError(f"group is {self.group} with axis {self.axis}, wanted a positive size and an axis")
        rank = self.scale.ndim
        if self.group is None and rank != (0 if self.axis is None else 1):
            raise UsageError(f"scale has {rank} dimensions, wanted 0 per tensor or 1 per channel (axis {self.axis})")
        if self.group is not None and not (rank and -rank <= (self.axis or 0) < rank):
            raise UsageError(f"grouped scale has {rank} dimensions and no axis {self.axis}")
        if self.zero_point.shape not in ((), self.scale.shape):
            raise UsageError(f"zero point has shape {self.zero_point.shape}, wanted () or that of the scale")
        if ((self.zero_point < self.qmin) | (self.zero_point > self.qmax)).any():
            raise UsageError(f"zero point {self.zero_point.tolist()} is outside codes {self.qmin} to {self.qmax}")

    @property
    def qmin(self) -> int:
        """Lowest code."""
        return int(self.narrow) - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Highest code."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """int8 or uint8, the numpy type codes are held in."""
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def is_power_of_two(self) -> bool:
        """Tell whether every scale is a power of two."""
        return bool(dyadic.is_power_of_two(self.scale).all())

    @property
    def exponent(self) -> NDArray[np.int64]:
        """The k of scale = 2^k, in the shape of the scale.

        Raises:
            UsageError: A scale is not a power of two.
        """
        return dyadic.exponent(self.scale)

    def spread(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return `values` (one for all, or one per scale) shaped to broadcast against a tensor of `shape`.

        Raises:
            UsageError: A tensor of this shape has no such channels or groups.
        """
        if self.axis is None or values.ndim == 0:
            return values
        if not -len(shape) <= self.axis < len(shape):
            raise UsageError(f"tensor of shape {shape} has no axis {self.axis}")
        axis = self.axis % len(shape)
        wanted = list(shape)
        if self.group is not None:
            if shape[axis] % self.group:
                raise UsageError(f"axis {axis} of shape {shape} is not a multiple of group {self.group}")
            wanted[axis] //= self.group
            if list(values.shape) != wanted:
                raise UsageError(f"scale has shape {values.shape}, wanted {tuple(wanted)} for a tensor of {shape}")
            return np.repeat(values, self.group, axis=axis)
        if values.shape[0] != shape[axis]:
            raise UsageError(f"encoding has {values.shape[0]} channels, axis {axis} of shape {shape} another number")
        return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Affine):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        """Return everything equality depends on."""
        arrays = (self.scale.shape, self.scale.tobytes(), self.zero_point.shape, self.zero_point.tobytes())
        return (self.bits, self.signed, self.axis, self.group, self.narrow, *arrays)


def covering(
    low: Any,
    high: Any,
    *,
    bits: int = 8,
    signed: bool = False,
    symmetric: bool = False,
    power_of_two: bool = False,
    axis: int | None = None,
    group: int | None = None,
    smallest_exponent: int = dyadic.SMALLEST_EXPONENT,
) -> Affine:
    """Return the finest encoding that reaches low and high to within half a step, with 0.0 always a code of its own.

    Args:
        low: Smallest values, () or one per channel or group; above 0 they count as 0.
        high: Largest values, in the shape of `low`; below 0 they count as 0.
        bits: Width of a code.
        signed: Signed codes.
        symmetric: Zero point in the middle (0 signed, 2^(bits-1) unsigned) and, if signed, the narrow range.
        power_of_two: The smallest power of two that covers, instead of a free scale.
        axis: As in `Affine`.
        group: As in `Affine`.
        smallest_exponent: No scale falls below 2 to this power, so that a range of only zeros has one.

    Raises:
        UsageError: A bound is not finite, or low > high.
    """
    lows, highs = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not (np.isfinite(lows).all() and np.isfinite(highs).all() and (lows <= highs).all()):
        raise UsageError("a range to cover is not finite, or its low end is above its high end")
    lows, highs = np.minimum(lows, 0.0), np.maximum(highs, 0.0)
    qmin, qmax = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    qmin += int(symmetric and signed)
    floor = 2.0**smallest_exponent
    if symmetric:
        zero = np.full(lows.shape, 0 if signed else 2 ** (bits - 1), dtype=np.int64)
        scale = np.maximum(np.maximum(-lows / (zero - qmin), highs / (qmax - zero)), floor)
    else:
        scale = np.maximum((highs - lows) / (qmax - qmin), floor)
        zero = np.clip(np.rint(qmin - lows / scale), qmin, qmax).astype(np.int64)
    if power_of_two:
        k = dyadic.exponent_ceil(scale)
        if not symmetric:
            zero = np.clip(np.rint(qmin - np.ldexp(lows, -k)), qmin, qmax).astype(np.int64)
        scale = np.ldexp(1.0, k)
    return Affine(
        scale=scale, zero_point=zero, bits=bits, signed=signed, axis=axis, group=group, narrow=symmetric and signed
    )


def _frozen(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a read-only copy in `dtype`, refusing anything but whole numbers for an integer type."""
    if np.issubdtype(dtype, np.integer) and values.dtype.kind not in "iu":
        raise UsageError(f"zero point has type {values.dtype}, wanted integers")
    copy = values.astype(dtype)
    copy.setflags(write=False)
    return copy


def _frozen_scale(scale: Any) -> NDArray[np.float32]:
    """Return the scales as read-only float32.

    Raises:
        UsageError: One is not a positive normal float32.
    """
    values = np.array(scale, dtype=np.float64)
    limits = np.finfo(np.float32)
    if not (np.isfinite(values).all() and ((values >= limits.smallest_normal) & (values <= limits.max)).all()):
        raise UsageError("a scale is zero, negative, not finite or too small for float32; wanted positive numbers")
    return _frozen(values, np.float32)
