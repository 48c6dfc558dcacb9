"""Bit budget: the largest magnitude a sum of products of codes can take, and the bits that hold it.

Where the budget fits, no partial sum can overflow, wrap or lose a bit, whatever the order of adding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import UsageError
from intact.numbers.encoding import Affine

FLOAT32_BITS = 24
"""float32 holds every integer below 2^24 in magnitude."""


def worst(weights: NDArray[np.integer], low: int, high: int, offset: ArrayLike = 0) -> NDArray[np.int64]:
    """Return the largest |partial sum| of offset + sum_i w_i * x_i over all x_i in [low, high], row by row.

    It is sum_i |w_i| * max(|low|, |high|) + |offset|. A sum of n equal parts is the row of n ones.

    Args:
        weights: Integers, shape (rows, ...); all but the first dimension are summed over.
        low: Smallest x_i.
        high: Largest x_i.
        offset: Integers, one for all or one per row.

    Returns:
        Bounds, int64, shape (rows,).

    Raises:
        UsageError: low > high, the weights are not integers, or a bound does not fit 62 bits.
    """
    if low > high:
        raise UsageError(f"inputs range from {low} to {high}, wanted low <= high")
    if weights.ndim < 1:
        raise UsageError("weights are a single number, wanted rows")
    offsets = np.asarray(offset)
    reach = max(abs(low), abs(high))
    rows = weights.reshape(weights.shape[0], -1)
    largest, largest_offset = _largest(rows, "weights"), _largest(offsets, "offset")
    if largest * rows.shape[1] * reach + largest_offset >= 2**62:
        raise UsageError(f"sums of {rows.shape[1]} products up to {largest} * {reach} may not fit 62 bits")
    return np.asarray(np.abs(rows.astype(np.int64)).sum(axis=1) * reach + np.abs(offsets.astype(np.int64)))


def accumulator(
    weights: NDArray[np.integer], activation: Affine, bias: ArrayLike = 0, *, axis: int = 0
) -> NDArray[np.int64]:
    """Return the worst |accumulator| of each output channel of an integer layer.

    Args:
        weights: Integer weights less their zero point.
        activation: Per-tensor encoding of the layer's input; a code q enters as q - zero_point.
        bias: Integer bias, one per output channel.
        axis: Output dimension of the weights: 0 for Conv, usually 1 for MatMul.

    Returns:
        (sum |w|) * max(zero_point - qmin, qmax - zero_point) + |bias|, int64, shape (channels,).

    Raises:
        UsageError: The activation encoding is not per tensor, or as `worst`.
    """
    if activation.zero_point.ndim:
        raise UsageError("the activation has several zero points, wanted a per-tensor encoding")
    zero = int(activation.zero_point)
    return worst(np.moveaxis(weights, axis, 0), activation.qmin - zero, activation.qmax - zero, bias)


def required_bits(bound: ArrayLike) -> int:
    """Return the smallest b with every bound < 2^b: the magnitude bits an accumulator needs, without the sign."""
    return int(np.max(np.asarray(bound, dtype=np.int64), initial=0)).bit_length()


def fits(bound: ArrayLike, bits: int = FLOAT32_BITS) -> bool:
    """Tell whether every bound is below 2^bits."""
    return required_bits(bound) <= bits


def _largest(values: NDArray[Any], name: str) -> int:
    """Return the largest magnitude among integers, 0 of none."""
    if values.dtype.kind not in "iu":
        raise UsageError(f"{name} has type {values.dtype}, wanted integers")
    return max(abs(int(values.max())), abs(int(values.min()))) if values.size else 0
