"""The operators once more, as plainly as they can be written: Python integers and fractions, one element at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def exact(codes: np.ndarray, exponents: Sequence[int] | int, zero_point: int = 0, axis: int = 0) -> np.ndarray:
    """Return (code - zero point) * 2**exponent as an array of fractions."""
    out = np.empty(codes.shape, dtype=object)
    for index in np.ndindex(codes.shape):
        exponent = exponents if isinstance(exponents, int) else int(exponents[index[axis]])
        out[index] = (int(codes[index]) - zero_point) * Fraction(2) ** exponent
    return out


def quantize(values: np.ndarray, exponent: int, zero_point: int) -> np.ndarray:
    """Return saturate(half_even(value / 2**exponent) + zero_point); Python's round is half to even on fractions."""
    out = np.empty(values.shape, dtype=np.uint8)
    for index in np.ndindex(values.shape):
        code = round(values[index] / Fraction(2) ** exponent) + zero_point
        out[index] = min(max(code, 0), 255)
    return out


def conv(x, w, bias, strides, pads, dilations, groups) -> np.ndarray:
    """Return the correlation of x (N, C, H, W) with w (O, C/groups, KH, KW), plus bias."""
    rows, _, *sizes = x.shape
    outs, depth, *taps = w.shape
    rank = len(taps)
    places = [
        (sizes[a] + pads[a] + pads[rank + a] - (taps[a] - 1) * dilations[a] - 1) // strides[a] + 1 for a in range(rank)
    ]
    out = np.empty((rows, outs, *places), dtype=object)
    for n, o, *place in np.ndindex(out.shape):
        first = o // (outs // groups) * depth
        total = Fraction(0) if bias is None else bias[o]
        for c, *tap in np.ndindex(depth, *taps):
            at = [place[a] * strides[a] - pads[a] + tap[a] * dilations[a] for a in range(rank)]
            if all(0 <= at[a] < sizes[a] for a in range(rank)):
                total += x[(n, first + c, *at)] * w[(o, c, *tap)]
        out[(n, o, *place)] = total
    return out


def pool(x, kernel, strides, pads, *, ceil_mode, include_padding, reduce) -> np.ndarray:
    """Return `reduce` ("max" or "mean") under each window of x (N, C, H, W)."""
    rows, channels, *sizes = x.shape
    rank, places = len(kernel), []
    for a in range(rank):
        reach = sizes[a] + pads[a] + pads[rank + a] - kernel[a]
        steps = -(-reach // strides[a]) if ceil_mode else reach // strides[a]
        if ceil_mode and steps * strides[a] >= sizes[a] + pads[a]:
            steps -= 1
        places.append(steps + 1)
    out = np.empty((rows, channels, *places), dtype=object)
    for n, c, *place in np.ndindex(out.shape):
        spans = [
            range(place[a] * strides[a] - pads[a], place[a] * strides[a] - pads[a] + kernel[a]) for a in range(rank)
        ]
        inside = [at for at in itertools.product(*spans) if all(0 <= at[a] < sizes[a] for a in range(rank))]
        padded = [at for at in itertools.product(*spans) if all(at[a] < sizes[a] + pads[rank + a] for a in range(rank))]
        values = [x[(n, c, *at)] for at in inside]
        count = len(padded) if include_padding else len(inside)
        out[(n, c, *place)] = max(values) if reduce == "max" else sum(values, Fraction(0)) / count
    return out


def matmul(a, b) -> np.ndarray:
    """Return the product of two matrices of fractions."""
    out = np.empty((a.shape[0], b.shape[1]), dtype=object)
    for i, j in np.ndindex(out.shape):
        out[i, j] = sum((a[i, k] * b[k, j] for k in range(a.shape[1])), Fraction(0))
    return out


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return fractions as float32, each of which must be exact."""
    out = np.empty(values.shape, dtype=np.float32)
    for index in np.ndindex(values.shape):
        out[index] = np.float32(float(values[index]))
        assert Fraction(float(out[index])) == values[index]
    return out
