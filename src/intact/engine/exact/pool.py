"""Pooling and reductions of exact values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from intact.engine.exact.arith import whole
from intact.engine.exact.call import Call
from intact.engine.exact.value import HEADROOM_BITS, Array, Exact, InexactError, Ints, Value, align, divide
from intact.engine.exact.window import Window, patches, place


def max_pool(call: Call) -> list[Value]:
    """Return the largest value under each window, and where it lies where that is asked; codes as they are."""
    value = call.optional(0)
    if isinstance(value, Exact):
        x = align(value)
        mantissa, places = _largest(x.mantissa, call)
        largest = Exact(mantissa=mantissa, exponent=x.exponent, bound=np.asarray(x.largest), divisor=x.divisor)
        return [largest, *places]
    codes = call.array(0)
    if codes.dtype.kind not in "iu" and (call.outputs == 1 or codes.dtype.kind != "f"):
        raise InexactError("operand 0 is neither exact nor codes")
    pooled, places = _largest(codes, call)
    return [pooled.astype(codes.dtype), *places]


def _largest(x: Array, call: Call) -> tuple[Array, list[Value]]:
    """Return the largest element of each window, and the index of the first such one where the node names it."""
    spatial = x.shape[2:]
    window = place(call.attributes, call.attributes["kernel_shape"], spatial)
    taps = tuple(range(-len(window.kernel), 0))
    if call.outputs == 1:
        lowest = -(1 << HEADROOM_BITS) if x.dtype == np.int64 else int(np.iinfo(x.dtype).min)
        return np.asarray(patches(x, window, lowest).max(axis=taps)), []
    wide = x if x.dtype.kind == "f" else x.astype(np.int64)  # padding lies below the smallest code
    view = patches(wide, window, -np.inf if wide.dtype.kind == "f" else -(1 << HEADROOM_BITS))
    flat = view.reshape(*view.shape[: -len(taps)], -1)
    first = flat.argmax(axis=-1)[..., None]
    inside = patches(_numbered(spatial, int(call.attributes.get("storage_order", 0))), window, -1)
    numbers = np.broadcast_to(inside.reshape(*inside.shape[: -len(taps)], -1), flat.shape)
    within = np.take_along_axis(numbers, first, axis=-1)[..., 0]
    channel = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    return np.take_along_axis(flat, first, axis=-1)[..., 0], [within + channel * math.prod(spatial)]


def _numbered(spatial: Sequence[int], storage_order: int) -> Ints:
    """Return the index of each position of a channel, shape (1, 1, *spatial): rows last (0) or columns last (1)."""
    count = np.arange(math.prod(spatial), dtype=np.int64)
    return (count.reshape(spatial[::-1]).T if storage_order else count.reshape(spatial))[None, None]


def average_pool(call: Call) -> Value:
    """Return the mean under each window, as a sum over a common divisor."""
    x = align(call.exact(0))
    window = place(call.attributes, call.attributes["kernel_shape"], x.mantissa.shape[2:])
    axes = tuple(range(-len(window.kernel), 0))
    counts = _counts(window, x.mantissa.shape[2:], bool(call.attributes.get("count_include_pad", 0)))
    whole_count = math.lcm(*(int(count) for count in np.unique(counts)))
    total = Exact(
        mantissa=patches(x.mantissa, window, 0).sum(axis=axes) * (whole_count // counts),
        exponent=x.exponent,
        bound=whole(np.asarray(float(x.largest) * whole_count)),
        divisor=x.divisor,
    )
    return divide(total, whole_count)


def _counts(window: Window, spatial: Sequence[int], include_padding: bool) -> Ints:
    """Return how many elements each position averages, shape positions."""
    inside = np.ones((1, 1, *spatial), dtype=np.int64)
    after = tuple(a - e for a, e in zip(window.after, window.excess, strict=True))
    pads = [(0, 0), (0, 0), *zip(window.before, after, strict=True)]
    inside = np.pad(inside, pads, constant_values=int(include_padding))
    inside = np.pad(inside, [(0, 0), (0, 0), *((0, e) for e in window.excess)])
    nowhere = (0,) * len(window.kernel)
    laid = Window(
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        before=nowhere,
        after=nowhere,
        excess=nowhere,
    )
    return np.asarray(patches(inside, laid, 0).sum(axis=tuple(range(-len(window.kernel), 0)))[0, 0])


def global_average_pool(call: Call) -> Value:
    """Return the mean over all spatial positions."""
    x = call.exact(0)
    return _mean(x, tuple(range(2, x.mantissa.ndim)), keep=True)


def global_max_pool(call: Call) -> Value:
    """Return the largest value over all spatial positions."""
    x = align(call.exact(0))
    mantissa = x.mantissa.max(axis=tuple(range(2, x.mantissa.ndim)), keepdims=True)
    return Exact(mantissa=mantissa, exponent=x.exponent, bound=np.asarray(x.largest), divisor=x.divisor)


def reduce_mean(call: Call) -> Value:
    """Return the mean over the axes of input 1 (or of the attribute, before opset 18)."""
    x = call.exact(0)
    axes, keep = _axes(call, x.mantissa.ndim)
    return _mean(x, axes, keep=keep)


def reduce_sum(call: Call) -> Value:
    """Return the sum over the axes of input 1 (or of the attribute, before opset 13)."""
    x = call.exact(0)
    axes, keep = _axes(call, x.mantissa.ndim)
    return _total(x, axes, keep=keep)


def _axes(call: Call, ndim: int) -> tuple[tuple[int, ...], bool]:
    axes = call.attributes.get("axes") if call.optional(1) is None else call.array(1).tolist()
    if not axes:
        axes = () if call.attributes.get("noop_with_empty_axes", 0) else range(ndim)
    return tuple(int(axis) % ndim for axis in axes), bool(call.attributes.get("keepdims", 1))


def _total(x: Exact, axes: tuple[int, ...], *, keep: bool) -> Exact:
    x = align(x)
    count = math.prod(x.mantissa.shape[axis] for axis in axes)
    bound = whole(np.asarray(float(x.largest) * count))
    mantissa = np.asarray(x.mantissa.sum(axis=axes, keepdims=keep)) if axes else x.mantissa
    return Exact(mantissa=mantissa, exponent=x.exponent, bound=bound, divisor=x.divisor)


def _mean(x: Exact, axes: tuple[int, ...], *, keep: bool) -> Exact:
    count = math.prod(x.mantissa.shape[axis] for axis in axes)
    return divide(_total(x, axes, keep=keep), count)
