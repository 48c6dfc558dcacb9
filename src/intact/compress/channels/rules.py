"""How each operator hands channels on. What has no rule here keeps all of its channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from intact.compress.channels.wiring import Ids, Lane, Tracing, is_depthwise
from intact.graph.view import Node

Rule = Callable[[Tracing, Node], Lane | tuple[Lane, ...] | None]
"""What channels the outputs have; None where the rule does not fit, and everything at the node has to stay."""

ACTIVATIONS = (
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Gelu",
    "Mish",
)
FUNCTIONS = ("Softplus", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Reciprocal", "Clip", "Identity", "Cast", "Dropout")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool")
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")


def same(tracing: Tracing, node: Node) -> Lane | None:
    """Each value by itself."""
    return tracing.lanes.get(node.inputs[0])


def pool(tracing: Tracing, node: Node) -> Lane | None:
    """Windows over an image, channel by channel."""
    lane = tracing.lanes.get(node.inputs[0])
    return lane if lane is not None and lane.axis == 1 and len(node.outputs) == 1 else None


def conv(tracing: Tracing, node: Node) -> Lane | None:
    """New channels; a depthwise convolution hands its own on."""
    weight = tracing.graph.constant(node.inputs[1])
    bias = tracing.graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or (len(node.inputs) > 2 and node.inputs[2] and bias is None):
        return None
    lane = tracing.lanes.get(node.inputs[0])
    if lane is not None and lane.axis != 1:
        return None
    if is_depthwise(tracing.graph, node):
        channels = node.attributes["group"]
        return None if lane is None else Lane(axis=1, ids=np.repeat(lane.ids, len(weight) // channels))
    if node.attributes.get("group", 1) != 1:
        return None
    return Lane(axis=1, ids=tracing.fresh(len(weight)))


def gemm(tracing: Tracing, node: Node) -> Lane | None:
    """New channels, one for each row of the weight."""
    weight = tracing.graph.constant(node.inputs[1])
    plain = node.attributes.get("transB", 0) and not node.attributes.get("transA", 0)
    bias = tracing.graph.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(0)
    if weight is None or not plain or bias is None or (bias.size and bias.shape != (len(weight),)):
        return None
    return Lane(axis=1, ids=tracing.fresh(len(weight)))


def matmul(tracing: Tracing, node: Node) -> Lane | None:
    """New channels in the last axis, one for each column of the constant."""
    weight, rank = tracing.graph.constant(node.inputs[1]), tracing.rank(node.inputs[0])
    lane = tracing.lanes.get(node.inputs[0])
    if weight is None or weight.ndim != 2 or rank is None or (lane is not None and lane.axis != rank - 1):
        return None
    return Lane(axis=rank - 1, ids=tracing.fresh(weight.shape[1]))


def arithmetic(tracing: Tracing, node: Node) -> Lane | None:
    """Two tensors value by value: their channels are tied; a constant is cut as its partner is."""
    computed = [name for name in node.inputs if tracing.graph.constant(name) is None]
    lanes = [tracing.lanes.get(name) for name in computed]
    if len(node.inputs) != 2 or any(lane is None for lane in lanes):
        return None
    known = [lane for lane in lanes if lane is not None]
    if len(known) == 1:
        return known[0] if _constant_fits(tracing, node, known[0]) else None
    first, second = known
    ranks = {tracing.rank(name) for name in computed}
    if first.axis != second.axis or len(ranks) != 1 or None in ranks or len(first.ids) != len(second.ids):
        return None
    tracing.tie(first.ids, second.ids)
    return first


def _constant_fits(tracing: Tracing, node: Node, lane: Lane) -> bool:
    """Whether a constant has one value for every channel, or one for each."""
    constant, source = sorted(node.inputs, key=lambda name: tracing.graph.constant(name) is None)
    rank, shape = tracing.rank(source), tracing.graph.constants[constant].shape
    return rank is not None and len(shape) <= rank and constant_axis(lane.axis, rank, shape) in (None, len(lane.ids))


def constant_axis(axis: int, rank: int, shape: tuple[int, ...]) -> int | None:
    """The size of a broadcast constant along the channel axis; None where it is one, or the axis is not there."""
    place = axis - (rank - len(shape))
    return None if place < 0 or shape[place] == 1 else shape[place]


def concat(tracing: Tracing, node: Node) -> Lane | None:
    """Channels one after the other; along another axis they are tied."""
    lanes = [tracing.lanes.get(name) for name in node.inputs]
    rank, known = tracing.rank(node.output), [lane for lane in lanes if lane is not None]
    if rank is None or len(known) < len(lanes) or len({lane.axis for lane in known}) > 1:
        return None
    if node.attributes["axis"] % rank == known[0].axis:
        return Lane(axis=known[0].axis, ids=np.concatenate([lane.ids for lane in known]))
    for lane in known[1:]:
        tracing.tie(known[0].ids, lane.ids)
    return known[0]


def flatten(tracing: Tracing, node: Node) -> Lane | None:
    """All axes but the batch in one: each channel comes as often as the image has places."""
    lane, shape = tracing.lanes.get(node.inputs[0]), tracing.shapes.get(node.inputs[0], ())
    if lane is None or lane.axis != 1 or not all(isinstance(size, int) for size in shape[2:]):
        return None
    places = math.prod(int(size or 0) for size in shape[2:])
    if node.op == "Flatten" and node.attributes.get("axis", 1) != 1:
        return None
    if node.op == "Reshape" and not _is_flatten(tracing, node, len(lane.ids) * places):
        return None
    return Lane(axis=1, ids=np.repeat(lane.ids, places))


def _is_flatten(tracing: Tracing, node: Node, columns: int) -> bool:
    target, made = tracing.graph.constant(node.inputs[1]), tracing.shapes.get(node.output, ())
    return target is not None and target.shape == (2,) and len(made) == 2 and made[1] in (columns, None)


def pad(tracing: Tracing, node: Node) -> Lane | None:
    """New channels of the padding's one value on both sides of the old."""
    lane, pads = tracing.lanes.get(node.inputs[0]), tracing.graph.constant(node.inputs[1])
    if lane is None or pads is None or (len(node.inputs) > 3 and node.inputs[3]):
        return None
    before, after = int(pads[lane.axis]), int(pads[lane.axis + len(pads) // 2])
    if before == after == 0:
        return lane
    if min(before, after) < 0 or node.attributes.get("mode", "constant") != "constant":
        return None
    return replace(lane, ids=np.concatenate([tracing.fresh(before), lane.ids, tracing.fresh(after)]))


def cut(tracing: Tracing, node: Node) -> Lane | None:
    """A run of the channels, or all of them where other axes are cut."""
    lane, rank = tracing.lanes.get(node.inputs[0]), tracing.rank(node.inputs[0])
    given = [tracing.graph.constant(name) for name in node.inputs[1:]]
    if lane is None or rank is None or len(given) < 3 or any(value is None for value in given):
        return None
    starts, ends, axes = (np.asarray(value).reshape(-1) for value in given[:3])
    steps = np.asarray(given[3]).reshape(-1) if len(given) > 3 else np.ones_like(starts)
    for start, end, axis, step in zip(starts, ends, axes % rank, steps, strict=True):
        if axis == lane.axis:
            return replace(lane, ids=lane.ids[int(start) : int(end)]) if step == 1 else None
    return lane


def split(tracing: Tracing, node: Node) -> tuple[Lane, ...] | None:
    """Runs of the channels, where they are what is split."""
    lane, rank = tracing.lanes.get(node.inputs[0]), tracing.rank(node.inputs[0])
    sizes = tracing.graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if lane is None or rank is None:
        return None
    if node.attributes.get("axis", 0) % rank != lane.axis:
        return (lane,) * len(node.outputs)
    if sizes is None or int(sizes.sum()) != len(lane.ids):
        return None
    parts: list[Ids] = np.split(lane.ids, np.cumsum(sizes)[:-1])
    return tuple(replace(lane, ids=part) for part in parts)


def transpose(tracing: Tracing, node: Node) -> Lane | None:
    """The channels at another axis."""
    lane, order = tracing.lanes.get(node.inputs[0]), node.attributes.get("perm")
    return None if lane is None or order is None else replace(lane, axis=list(order).index(lane.axis))


RULES: dict[str, Rule] = {
    **dict.fromkeys(ACTIVATIONS + FUNCTIONS, same),
    **dict.fromkeys(POOLS, pool),
    **dict.fromkeys(ARITHMETIC, arithmetic),
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "Concat": concat,
    "Flatten": flatten,
    "Reshape": flatten,
    "Pad": pad,
    "Slice": cut,
    "Split": split,
    "Transpose": transpose,
}
