"""Convolutions and pools: whatever slides a window over spatial axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from intact.errors import ModelError
from intact.graph.torch_operators.moves import padded, whole

Attributes = Mapping[str, Any]
Function = Callable[..., Any]


def _pads(a: Attributes, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """The (before, after) padding of each spatial axis."""
    mode, count = a.get("auto_pad", "NOTSET"), len(kernel)
    if mode in ("NOTSET", "VALID"):
        flat = a.get("pads", [0] * 2 * count) if mode == "NOTSET" else [0] * 2 * count
        return [(flat[axis], flat[axis + count]) for axis in range(count)]
    found = []
    for length, reach, step in zip(size, kernel, stride, strict=True):
        total = max(0, (math.ceil(length / step) - 1) * step + reach - length)
        small, large = total // 2, total - total // 2
        found.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return found


def _window(a: Attributes, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations and padding of a window over the spatial axes of `x`."""
    strides, dilations = (list(a.get(key, [1] * len(kernel))) for key in ("strides", "dilations"))
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    return strides, dilations, _pads(a, x.shape[2:], reach, strides)


def _symmetric(pads: Sequence[tuple[int, int]]) -> bool:
    return all(before == after for before, after in pads)


def conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv of one to three spatial axes."""
    strides, dilations, pads = _window(a, x, weight.shape[2:])
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[x.ndim - 3]
    if _symmetric(pads):
        return function(x, weight, bias, strides, [before for before, _ in pads], dilations, a.get("group", 1))
    return function(padded(x, pads), weight, bias, strides, 0, dilations, a.get("group", 1))


def conv_transpose(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """ConvTranspose with explicit, symmetric padding."""
    if a.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in a:
        raise ModelError("ConvTranspose with automatic padding has no differentiable form here")
    strides, dilations, pads = _window(a, x, weight.shape[2:])
    if not _symmetric(pads):
        raise ModelError(f"ConvTranspose with the uneven padding {pads} has no differentiable form here")
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[x.ndim - 3]
    extra = list(a.get("output_padding", [0] * len(strides)))
    return function(x, weight, bias, strides, [before for before, _ in pads], extra, a.get("group", 1), dilations)


def max_pool(a: Attributes, x: Tensor) -> Tensor:
    """MaxPool without indices."""
    kernel = a["kernel_shape"]
    strides, dilations, pads = _window(a, x, kernel)
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[x.ndim - 3]
    inside = _symmetric(pads) and all(2 * before <= size for (before, _), size in zip(pads, kernel, strict=True))
    padding = [before for before, _ in pads] if inside else 0
    source = x if inside else padded(x, pads, -math.inf)
    return function(source, kernel, strides, padding, dilations, bool(a.get("ceil_mode", 0)))


def average_pool(a: Attributes, x: Tensor) -> Tensor:
    """AveragePool without dilations."""
    kernel, ceil = a["kernel_shape"], bool(a.get("ceil_mode", 0))
    strides, dilations, pads = _window(a, x, kernel)
    if any(step != 1 for step in dilations):
        raise ModelError("AveragePool with dilations has no differentiable form here")
    function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[x.ndim - 3]
    if not any(size for pair in pads for size in pair):
        return function(x, kernel, strides, ceil_mode=ceil)
    if ceil:
        raise ModelError("AveragePool with ceil_mode and padding has no differentiable form here")
    mean = function(padded(x, pads), kernel, strides)
    if a.get("count_include_pad", 0):
        return mean
    return mean / function(padded(torch.ones_like(x[:1, :1]), pads), kernel, strides)


def global_max_pool(a: Attributes, x: Tensor) -> Tensor:
    """The greatest value of each channel."""
    return x.amax(dim=list(range(2, x.ndim)), keepdim=True)


def global_average_pool(a: Attributes, x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(dim=list(range(2, x.ndim)), keepdim=True)


def resize(
    a: Attributes, x: Tensor, region: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Resize two spatial axes: nearest by whole factors, or linear."""
    factors = [] if scales is None else scales.tolist()[2:]
    wanted = whole(sizes)[2:] or [int(n * factor) for n, factor in zip(x.shape[2:], factors, strict=True)]
    mode, places = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    multiple = all(large % small == 0 for large, small in zip(wanted, x.shape[2:], strict=True))
    if mode == "nearest" and multiple and (places == "half_pixel" or a.get("nearest_mode") == "floor"):
        return functional.interpolate(x, size=wanted, mode="nearest")
    if mode == "linear" and places in ("half_pixel", "pytorch_half_pixel", "align_corners") and x.ndim == 4:
        return functional.interpolate(x, size=wanted, mode="bilinear", align_corners=places == "align_corners")
    raise ModelError(f"Resize in mode '{mode}' with places '{places}' has no differentiable form here")


FUNCTIONS: dict[str, Function] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "Resize": resize,
}
