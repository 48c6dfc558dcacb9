"""How each operator carries a positive factor of its input to its output, or takes it into its constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from intact.compress.equalize.trace import Index, Layout, Rule, Trace, Tracer
from intact.graph.view import Graph, Node


def trace(graph: Graph) -> Trace:
    """Find the channels of every float tensor of `graph` and what ties them to each other."""
    tracer = Tracer(graph)
    for node in graph.nodes:
        tracer.visit(node, RULES)
    return tracer.finish()


def _conv(tracer: Tracer, node: Node) -> bool:
    weight = tracer.own(node.inputs[1])
    if weight is None or weight.ndim < 3 or not _bias_is_own(tracer, node, len(weight)):
        return False
    return _product(tracer, node, axis=1, out=Layout(axis=1, size=len(weight)))


def _gemm(tracer: Tracer, node: Node) -> bool:
    weight = tracer.own(node.inputs[1])
    plain = not node.attributes.get("transA", 0) and node.attributes.get("transB", 0)
    if weight is None or not plain or not _bias_is_own(tracer, node, len(weight)):
        return False
    return _product(tracer, node, axis=1, out=Layout(axis=1, size=len(weight)))


def _matmul(tracer: Tracer, node: Node) -> bool:
    weight, rank = tracer.own(node.inputs[1]), tracer.rank(node.inputs[0])
    if weight is None or weight.ndim != 2 or rank is None or node.inputs[0] not in tracer.layouts:
        return False
    return _product(tracer, node, axis=rank - 1, out=Layout(axis=rank - 1, size=weight.shape[1]))


def _bias_is_own(tracer: Tracer, node: Node, rows: int) -> bool:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = tracer.own(node.inputs[2])
    return bias is not None and bias.shape == (rows,)


def _product(tracer: Tracer, node: Node, *, axis: int, out: Layout) -> bool:
    """A product ends the factors of its input and begins those of its output."""
    source = node.inputs[0]
    if source not in tracer.layouts:
        return False
    if tracer.layouts[source].axis not in (None, axis):
        tie(tracer, node, source)
    tracer.make(node.output, out)
    tracer.folds[node.output] = node
    return True


def tie(tracer: Tracer, node: Node, name: str) -> None:
    """Give all channels of `name` one factor."""
    size = tracer.layouts[name].size
    tracer.link(node, name, name, np.zeros(size, np.int64), np.arange(size))


def _same(tracer: Tracer, node: Node) -> bool:
    return node.inputs[0] in tracer.layouts and tracer.same(node, node.inputs[0])


def _pool(tracer: Tracer, node: Node) -> bool:
    """A mean or a maximum over windows: of one channel each, if the channels are where the operator has them."""
    source = node.inputs[0]
    if len([name for name in node.outputs if name]) > 1:
        return False
    return tracer.same(node, source) if tracer.layouts[source].axis in (None, 1) else tracer.whole(node, [source])


def _whole(tracer: Tracer, node: Node) -> bool:
    """What moves or joins values of the first input in a way not looked into."""
    return node.inputs[0] in tracer.layouts and tracer.whole(node, [node.inputs[0]])


def _clip(tracer: Tracer, node: Node) -> bool:
    """Bounds other than zero and infinity take in the factor, and then there is one for the whole tensor."""
    bounds = [tracer.graph.constant(name) for name in node.inputs[1:] if name]
    if any(value is None or value.size != 1 for value in bounds):
        return False
    if all(float(value) in (0.0, np.inf, -np.inf) for value in bounds if value is not None):
        return tracer.same(node, node.inputs[0])
    tracer.folds[node.output] = node
    return tracer.whole(node, [node.inputs[0]])


def _sum(tracer: Tracer, node: Node) -> bool:
    """Sums, differences, maxima and minima: all operands share their factors, channel by channel if they are alike."""
    constants = [name for name in node.present() if tracer.graph.constant(name) is not None]
    if constants:
        return len(node.inputs) == 2 and node.op in ("Add", "Sub") and _shift(tracer, node, constants[0])
    operands = list(dict.fromkeys(node.present()))
    channelled = [name for name in operands if tracer.layouts[name].axis is not None]
    ranks = {tracer.rank(name) for name in (*channelled, node.output)}
    alike = len({tracer.layouts[name] for name in channelled}) == 1 and len(ranks) == 1 and None not in ranks
    if not alike or not _keeps_channels(tracer, channelled[0], node.output):
        return tracer.whole(node, operands)
    tracer.make(node.output, tracer.layouts[channelled[0]])
    for name in operands:
        tracer.link(node, name, node.output)
    return True


def _shift(tracer: Tracer, node: Node, name: str) -> bool:
    """A constant added takes in the factors of what it is added to."""
    (source,) = (other for other in node.inputs if other != name)
    if tracer.own(name) is None or not _fits(tracer, source, name):
        return False
    tracer.folds[node.output] = node
    return tracer.same(node, source)


def _fits(tracer: Tracer, source: str, name: str) -> bool:
    """Whether a constant broadcasts to a tensor without making its channels more or others."""
    value, shape, layout = tracer.graph.constants[name], tracer.shapes.get(source), tracer.layouts[source]
    if layout.axis is None:
        return True
    if shape is None or value.ndim > len(shape):
        return False
    wide = (1,) * (len(shape) - value.ndim) + value.shape
    return wide[layout.axis] in (1, layout.size)


def _multiple(tracer: Tracer, node: Node) -> bool:
    """Times a constant, or times a gate whose factor is one: the factors of the other operand go on."""
    first, second = node.inputs
    for gate, source in ((second, first), (first, second)):
        if source not in tracer.layouts or (node.op == "Div" and gate == first):
            continue
        if tracer.graph.constant(gate) is not None and _fits(tracer, source, gate):
            return tracer.same(node, source)
        alike = tracer.rank(source) == tracer.rank(node.output) and tracer.rank(source) is not None
        if gate in tracer.pinned and gate != source and _keeps_channels(tracer, source, node.output):
            return tracer.same(node, source) if alike else tracer.whole(node, [source])
    return False


def _keeps_channels(tracer: Tracer, source: str, output: str) -> bool:
    layout, shape = tracer.layouts[source], tracer.shapes.get(output, ())
    return layout.axis is None or (layout.axis < len(shape) and shape[layout.axis] == layout.size)


def _concat(tracer: Tracer, node: Node) -> bool:
    """Parts joined along the channels keep their own factors; along another axis they share them."""
    if any(name not in tracer.layouts for name in node.inputs):
        return False
    rank = tracer.rank(node.output)
    axis = int(node.attributes["axis"])
    axis = axis + rank if axis < 0 and rank is not None else axis
    layouts = [tracer.layouts[name] for name in node.inputs]
    sizes = [_size(tracer, name, axis) for name in node.inputs]
    if all(layout.axis in (None, axis) for layout in layouts) and None not in sizes:
        known = [size for size in sizes if size is not None]
        tracer.make(node.output, Layout(axis=axis, size=sum(known)))
        starts = np.cumsum([0, *known])
        for name, start, size in zip(node.inputs, starts[:-1], known, strict=True):
            tracer.link(node, name, node.output, np.arange(size), np.arange(start, start + size))
        return True
    if len(set(layouts)) > 1:
        return tracer.whole(node, node.inputs)
    tracer.make(node.output, layouts[0])
    for name in node.inputs:
        tracer.link(node, name, node.output)
    return True


def _size(tracer: Tracer, name: str, axis: int) -> int | None:
    shape = tracer.shapes.get(name)
    size = shape[axis] if shape is not None and 0 <= axis < len(shape) else None
    return size if isinstance(size, int) else None


def _slice(tracer: Tracer, node: Node) -> bool:
    source = node.inputs[0]
    layout, rank = tracer.layouts[source], tracer.rank(source)
    if layout.axis is None:
        return tracer.same(node, source)
    given = [tracer.graph.constant(name) for name in node.inputs[1:]]
    if len(given) < 3 or any(value is None for value in given) or rank is None:
        return tracer.whole(node, [source])
    parts = [np.asarray(value, np.int64).reshape(-1) for value in given]
    steps = parts[3] if len(parts) > 3 else np.ones_like(parts[0])
    kept: Index = np.arange(layout.size)
    for start, end, axis, step in zip(parts[0], parts[1], parts[2], steps, strict=True):
        if axis % rank == layout.axis:
            kept = kept[_python_slice(int(start), int(end), int(step), len(kept))]
    return _picked(tracer, node, source, node.output, kept)


def _python_slice(start: int, end: int, step: int, size: int) -> slice:
    """A slice in ONNX's words, where an end far below zero means: past the first, going down."""
    return slice(start, None if step < 0 and end < -size else end, step)


def _picked(tracer: Tracer, node: Node, source: str, target: str, kept: Index) -> bool:
    """`target` has the channels `kept` of `source`."""
    if not len(kept):
        return False
    tracer.make(target, Layout(axis=tracer.layouts[source].axis, size=len(kept)))
    tracer.link(node, source, target, kept, np.arange(len(kept)))
    return True


def _split(tracer: Tracer, node: Node) -> bool:
    source = node.inputs[0]
    layout, rank = tracer.layouts[source], tracer.rank(source)
    axis = int(node.attributes.get("axis", 0))
    if layout.axis is None or rank is None:
        return tracer.whole(node, [source])
    if axis % rank != layout.axis:
        for output in node.outputs:
            tracer.make(output, layout)
            tracer.link(node, source, output)
        return True
    sizes = [_size(tracer, output, layout.axis) for output in node.outputs]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes) or sum(known) != layout.size:
        return tracer.whole(node, [source])
    for output, start, size in zip(node.outputs, np.cumsum([0, *known]), known, strict=False):
        _picked(tracer, node, source, output, np.arange(start, start + size))
    return True


def _pad(tracer: Tracer, node: Node) -> bool:
    source = node.inputs[0]
    layout, rank = tracer.layouts[source], tracer.rank(source)
    value = tracer.graph.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(())
    mode = node.attributes.get("mode", "constant")
    if mode == "constant" and (value is None or np.any(value != 0)):
        return False
    pads = tracer.graph.constant(node.inputs[1])
    if layout.axis is None or rank is None or pads is None or (len(node.inputs) > 3 and node.inputs[3]):
        return tracer.whole(node, [source])
    before, after = int(pads.reshape(-1)[layout.axis]), int(pads.reshape(-1)[layout.axis + rank])
    if before < 0 or after < 0 or (mode != "constant" and (before or after)):
        return tracer.whole(node, [source])
    tracer.make(node.output, Layout(axis=layout.axis, size=before + layout.size + after))
    tracer.link(node, source, node.output, np.arange(layout.size), np.arange(before, before + layout.size))
    return True


def _transpose(tracer: Tracer, node: Node) -> bool:
    source = node.inputs[0]
    layout, rank = tracer.layouts[source], tracer.rank(source)
    if layout.axis is None or rank is None:
        return tracer.whole(node, [source])
    perm = list(node.attributes.get("perm", range(rank - 1, -1, -1)))
    return tracer.same(node, source, axis=perm.index(layout.axis))


def _reshape(tracer: Tracer, node: Node) -> bool:
    """Rows of pictures to rows of numbers: a channel's factor for each of its pixels. Other forms: one for all."""
    source = node.inputs[0]
    layout, made, read = tracer.layouts[source], tracer.shapes.get(node.output, ()), tracer.shapes.get(source, ())
    columns = made[1] if len(made) == 2 else None
    rest = read[2:]
    if layout.axis != 1 or not isinstance(columns, int) or not all(isinstance(size, int) for size in rest):
        return tracer.whole(node, [source])
    pixels = int(np.prod([size for size in rest if isinstance(size, int)], dtype=np.int64))
    if columns != layout.size * pixels or (node.op == "Flatten" and node.attributes.get("axis", 1) != 1):
        return tracer.whole(node, [source])
    tracer.make(node.output, Layout(axis=1, size=columns))
    tracer.link(node, source, node.output, np.repeat(np.arange(layout.size), pixels), np.arange(columns))
    return True


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("Relu", "LeakyRelu", "Abs", "Neg", "Identity", "Dropout"), _same),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _pool),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"), _whole),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _whole),
    "Clip": _clip,
    **dict.fromkeys(("Add", "Sub", "Max", "Min", "Sum"), _sum),
    **dict.fromkeys(("Mul", "Div"), _multiple),
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
}
