"""Operators that move values, look them up, or compute with shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from intact.errors import ModelError

Attributes = Mapping[str, Any]
Function = Callable[..., Any]

DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def whole(value: Tensor | None) -> list[int]:
    return [] if value is None else [int(each) for each in value.reshape(-1).tolist()]


def padded(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    flat = [size for pair in reversed(pads) for size in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape; a zero keeps the axis as it is."""
    wanted = whole(shape)
    if not a.get("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(a: Attributes, x: Tensor) -> Tensor:
    """Flatten to two axes."""
    axis = a.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def transpose(a: Attributes, x: Tensor) -> Tensor:
    """Transpose; without `perm` the axes are reversed."""
    return x.permute(a.get("perm") or list(range(x.ndim))[::-1])


def squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop axes of size one."""
    given = whole(axes)
    return x.squeeze(tuple(given)) if given else x.squeeze()


def unsqueeze(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    """Put in axes of size one."""
    given = whole(axes)
    rank = x.ndim + len(given)
    for axis in sorted(each % rank for each in given):
        x = x.unsqueeze(axis)
    return x


def pad(a: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    """Pad with a constant, or by reflecting or repeating the edge of the last axes."""
    flat, over = whole(pads), whole(axes) or list(range(x.ndim))
    pairs = [(0, 0)] * x.ndim
    for place, axis in enumerate(over):
        pairs[axis % x.ndim] = (flat[place], flat[place + len(over)])
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        a.get("mode", "constant")
    ]
    if mode == "constant":
        return padded(x, pairs, 0.0 if value is None else float(value))
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    return functional.pad(x, [size for pair in reversed(pairs) for size in pair], mode=mode)


def slice_(
    a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    """Slice along some axes, backwards too."""
    first, last = whole(starts), whole(ends)
    over = whole(axes) or list(range(len(first)))
    for start, end, axis, step in zip(first, last, over, whole(steps) or [1] * len(first), strict=True):
        size = x.shape[axis]
        low, high, stride = slice(start, end, step).indices(size) if step > 0 else _backwards(start, end, step, size)
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(low, high, stride),)]
        else:
            x = x.index_select(axis, torch.tensor(range(low, high, stride), dtype=torch.int64, device=x.device))
    return x


def _backwards(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """Bounds of a slice that runs down; ONNX spells "past the first" as a very negative end."""
    return slice(start, None if end < -size else end, step).indices(size)


def split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split into given or equal parts."""
    axis = a.get("axis", 0)
    if sizes is not None:
        return tuple(x.split(whole(sizes), axis))
    if "num_outputs" not in a:
        raise ModelError("a Split that gives neither sizes nor their number has no differentiable form here")
    return tuple(x.split(math.ceil(x.shape[axis] / a["num_outputs"]), axis))


def gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    """Pick along one axis; negative indices count from the end."""
    axis = a.get("axis", 0) % x.ndim
    wanted = torch.where(index < 0, index + x.shape[axis], index)
    if axis == 0 and x.ndim == 2 and x.is_floating_point():
        return functional.embedding(wanted, x)
    picked = x.index_select(axis, wanted.reshape(-1))
    return picked.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def gather_elements(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    """Pick one value for each index along one axis; negative indices count from the end."""
    axis = a.get("axis", 0)
    return x.gather(axis, torch.where(index < 0, index + x.shape[axis], index))


def expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast to at least `shape`."""
    return x.expand(torch.broadcast_shapes(x.shape, whole(shape)))


def cast(a: Attributes, x: Tensor) -> Tensor:
    """Change the dtype."""
    if a["to"] not in DTYPES:
        raise ModelError(f"Cast to the ONNX type {a['to']} has no differentiable form here")
    return x.to(DTYPES[a["to"]])


def shape_of(a: Attributes, x: Tensor) -> Tensor:
    """The sizes, as int64 on the CPU."""
    return torch.tensor(x.shape, dtype=torch.int64)[a.get("start", 0) : a.get("end", x.ndim)]


def constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    """A tensor of one value."""
    value = onnx.numpy_helper.to_array(a["value"]) if "value" in a else None
    filled = torch.zeros(1) if value is None else torch.from_numpy(value.copy())
    return filled.reshape(()).expand(whole(shape))


def trilu(a: Attributes, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """The upper or lower triangle."""
    shift = 0 if diagonal is None else int(diagonal)
    return torch.triu(x, shift) if a.get("upper", 1) else torch.tril(x, shift)


def depth_to_space(a: Attributes, x: Tensor) -> Tensor:
    """Move blocks of channels into space."""
    rows, channels, height, width = x.shape
    size = a["blocksize"]
    if a.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, size)
    blocks = x.reshape(rows, size, size, channels // size**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(rows, channels // size**2, height * size, width * size)


def space_to_depth(a: Attributes, x: Tensor) -> Tensor:
    """Move blocks of space into channels."""
    rows, channels, height, width = x.shape
    size = a["blocksize"]
    blocks = x.reshape(rows, channels, height // size, size, width // size, size).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(rows, channels * size**2, height // size, width // size)


FUNCTIONS: dict[str, Function] = {
    "Cast": cast,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Identity": lambda a, x: x,
    "Pad": pad,
    "Range": lambda a, start, end, step: torch.arange(start.item(), end.item(), step.item()),
    "Reshape": reshape,
    "Shape": shape_of,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": lambda a, x, repeats: x.tile(whole(repeats)),
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Where": lambda a, condition, x, y: torch.where(condition, x, y),
}
