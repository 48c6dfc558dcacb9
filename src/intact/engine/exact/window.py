"""Where windows lie, and the convolution of exact values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from intact.engine.exact.arith import carrier, plus, whole
from intact.engine.exact.call import Call
from intact.engine.exact.value import Array, Exact, Ints, Value, align

COLUMNS_BYTES = 32 << 20
"""Patches are gathered for as many output lines at a time as fit into this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a kernel is laid on its input, one entry per spatial axis.

    Args:
        kernel: Taps.
        strides: Steps between two positions.
        dilations: Steps between two taps.
        before: Padding before the first element.
        after: Padding after the last one, including what rounding the output size up adds.
        excess: The part of `after` that is no padding but that rounding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    excess: tuple[int, ...]


def place(attributes: Mapping[str, Any], kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Resolve a node's attributes for an input of the given spatial shape.

    Source:
        ONNX operators Conv and AveragePool, attributes auto_pad, pads and ceil_mode.
    """
    rank = len(spatial)
    strides = tuple(attributes.get("strides") or (1,) * rank)
    dilations = tuple(attributes.get("dilations") or (1,) * rank)
    before, after = _pads(attributes, kernel, strides, dilations, spatial)
    excess = [0] * rank
    for axis in range(rank) if attributes.get("ceil_mode", 0) else ():
        reach = spatial[axis] + before[axis] + after[axis] - _extent(kernel[axis], dilations[axis])
        steps = -(-reach // strides[axis])
        if steps * strides[axis] >= spatial[axis] + before[axis]:  # a window must not start beyond the input
            steps -= 1
        excess[axis] = max(0, steps * strides[axis] - reach)
    return Window(
        kernel=tuple(kernel),
        strides=strides,
        dilations=dilations,
        before=tuple(before),
        after=tuple(a + e for a, e in zip(after, excess, strict=True)),
        excess=tuple(excess),
    )


def _extent(taps: int, dilation: int) -> int:
    return (taps - 1) * dilation + 1


def _pads(
    attributes: Mapping[str, Any],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    spatial: Sequence[int],
) -> tuple[list[int], list[int]]:
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads") or ()) if mode == "NOTSET" else []
        pads = pads or [0] * (2 * len(spatial))
        return pads[: len(spatial)], pads[len(spatial) :]
    small, large = [], []
    for taps, stride, dilation, size in zip(kernel, strides, dilations, spatial, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + _extent(taps, dilation) - size)
        small.append(total // 2)
        large.append(total - total // 2)
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def patches(x: Array, window: Window, fill: float) -> Array:
    """Return the view (N, C, *positions, *taps) of x padded with `fill`."""
    rank = len(window.kernel)
    if any(window.before) or any(window.after):
        x = _padded(x, window, fill)
    extents = tuple(_extent(k, d) for k, d in zip(window.kernel, window.dilations, strict=True))
    view = sliding_window_view(x, extents, axis=tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, step) for step in (*window.strides, *window.dilations))
    return view[(slice(None), slice(None), *steps)]


def _padded(x: Array, window: Window, fill: float) -> Array:
    """Return x with its spatial axes padded, in memory with the rows innermost, as `correlate` likes it."""
    sizes = [b + n + a for b, n, a in zip(window.before, x.shape[2:], window.after, strict=True)]
    memory = np.full((x.shape[1], *sizes, x.shape[0]), fill, dtype=x.dtype)
    out = memory.transpose(-1, *range(memory.ndim - 1))
    inner = tuple(slice(b, b + n) for b, n in zip(window.before, x.shape[2:], strict=True))
    out[(slice(None), slice(None), *inner)] = x
    return out


def conv(call: Call) -> Value:
    """Return the convolution (a correlation, as ONNX has it) plus bias."""
    x, w = align(call.exact(0)), call.exact(1)
    w = align(w, axes=tuple(range(1, w.mantissa.ndim)))
    window = place(call.attributes, w.mantissa.shape[2:], x.mantissa.shape[2:])
    channels = w.mantissa.shape[0]
    column = (1, channels, *(1,) * (w.mantissa.ndim - 2))
    taps = np.broadcast_to(w.bound, w.mantissa.shape).reshape(channels, -1).sum(axis=1, dtype=np.float64)
    bound = whole(taps * x.largest).reshape(column)
    exponent = w.exponent.reshape(column) if w.exponent.ndim else w.exponent
    product = Exact(
        mantissa=correlate(x.mantissa, w.mantissa, window, int(call.attributes.get("group", 1)), int(bound.max())),
        exponent=x.exponent + exponent,
        bound=bound,
        divisor=x.divisor * w.divisor,
    )
    if call.optional(2) is None:
        return product
    b = call.exact(2)
    return plus(product, _reshaped(b, column))


def _reshaped(value: Exact, shape: tuple[int, ...]) -> Exact:
    def shaped(part: Ints) -> Ints:
        return part.reshape(shape) if part.size > 1 else part.reshape(())

    return Exact(
        mantissa=value.mantissa.reshape(shape),
        exponent=shaped(value.exponent),
        bound=shaped(value.bound),
        divisor=value.divisor,
    )


def correlate(x: Ints, w: Ints, window: Window, groups: int, bound: int) -> Ints:
    """Return sum over taps of x * w, int64, shape (N, O, *positions).

    Args:
        x: (N, C, *spatial).
        w: (O, C / groups, *taps).
        window: Where the kernel is laid.
        groups: Channel groups.
        bound: No sum of |x * w| exceeds it.
    """
    kind = carrier(bound)
    rank = len(window.kernel)
    view = patches(x.astype(kind), window, 0)
    rows, positions = view.shape[0], view.shape[2 : 2 + rank]
    depth = w[0].size
    kernel = w.reshape(groups, -1, depth).astype(kind)  # (G, O/G, C/G*taps)
    to_columns = (1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank), 0)
    columns = view.transpose(to_columns)  # (C, *taps, *positions, N): long runs of memory, one large product
    out = np.empty((w.shape[0], *positions, rows), dtype=np.int64)
    across = kind.itemsize * depth * groups * rows * math.prod(positions[1:])
    step = max(1, COLUMNS_BYTES // max(1, across))
    for start in range(0, positions[0] if positions else 1, step):
        part = columns[(slice(None),) * (1 + rank) + (slice(start, start + step),)]
        product = np.matmul(kernel, part.reshape(groups, depth, -1))
        out[:, start : start + step] = product.reshape(w.shape[0], *part.shape[1 + rank :])
    return out.transpose(-1, *range(1 + rank))
