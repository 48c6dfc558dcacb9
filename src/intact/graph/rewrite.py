"""One spelling per idea: small rewrites of a float graph that leave its function as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from intact.graph import attention
from intact.graph.change import Array, Change, Rule, Shapes, apply, as_bias, constant_operand, only_consumer
from intact.graph.shapes import infer_shapes
from intact.graph.view import Graph, Node


def rewrite(graph: Graph) -> Graph:
    """Apply every rule wherever it fits, until none does."""
    shapes = infer_shapes(graph)
    while (change := _next(graph, shapes)) is not None:
        graph = apply(graph, change)
    return graph


def _next(graph: Graph, shapes: Shapes) -> Change | None:
    for rule in RULES:
        for node in graph.nodes:
            change = rule(graph, shapes, node)
            if change is not None:
                return change
    return None


def plain_gemm(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Gemm with a constant weight: transB = 1, alpha = beta = 1, a bias of one axis."""
    if node.op != "Gemm" or node.attributes.get("transA", 0):
        return None
    weight = graph.constant(node.inputs[1])
    bias = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or (len(node.inputs) > 2 and node.inputs[2] and bias is None):
        return None
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    rows = weight if node.attributes.get("transB", 0) else weight.T
    flat = as_bias(bias, len(rows), 2)
    if bias is not None and flat is None:
        return None
    same_bias = flat is None or bias is None or bias.shape == flat.shape
    if node.attributes.get("transB", 0) and alpha == beta == 1.0 and same_bias:
        return None
    names = [f"{node.output}.weight"] + ([f"{node.output}.bias"] if flat is not None else [])
    values = [alpha * rows] + ([beta * flat] if flat is not None else [])
    constants = {name: np.ascontiguousarray(value, np.float32) for name, value in zip(names, values, strict=True)}
    put = replace(node, inputs=(node.inputs[0], *names), attributes={"transB": 1})
    return Change(drop=(node,), put=(put,), constants=constants)


def matmul_of_rank_two(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """MatMul of a matrix with a constant matrix, and the Add of a constant after it: a Gemm."""
    weight = graph.constant(node.inputs[1]) if node.op == "MatMul" else None
    if weight is None or weight.ndim != 2 or len(shapes.get(node.inputs[0], ())) != 2:
        return None
    name = f"{node.output}.weight"
    constants = {name: np.ascontiguousarray(weight.T)}
    add = only_consumer(graph, node.output)
    bias_name = constant_operand(graph, add) if add is not None and add.op == "Add" else None
    bias = as_bias(graph.constant(bias_name or ""), len(weight.T), 2)
    if add is not None and bias is not None:
        constants[f"{node.output}.bias"] = bias
        gemm = Node(op="Gemm", inputs=(node.inputs[0], *constants), outputs=add.outputs, attributes={"transB": 1})
        return Change(drop=(node, add), put=(gemm,), constants=constants)
    gemm = Node(op="Gemm", inputs=(node.inputs[0], name), outputs=node.outputs, attributes={"transB": 1})
    return Change(drop=(node,), put=(gemm,), constants=constants)


def channel_affine(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """A gain and a shift for each channel (BatchNormalization, or arithmetic with a constant of one value a channel).

    They go into the product before, if it has no other reader; else they become a depthwise convolution of one tap.
    """
    affine = _batch_norm(graph, node) or _arithmetic(graph, shapes, node)
    if affine is None:
        return None
    source = affine.source
    product = graph.producers.get(source)
    if product is not None and product.op in ("Conv", "Gemm") and only_consumer(graph, source) is node:
        change = _into_product(graph, product, node, affine)
        if change is not None:
            return change
    rank = len(shapes.get(source, ()))
    if rank < 3:
        return None
    names = (f"{node.output}.weight", f"{node.output}.bias")
    kernel = affine.gain.reshape(-1, 1, *([1] * (rank - 2)))
    attributes = {"group": len(affine.gain), "kernel_shape": [1] * (rank - 2)}
    put = Node(op="Conv", inputs=(source, *names), outputs=node.outputs[:1], attributes=attributes)
    return Change(drop=(node,), put=(put,), constants=_floats(names, (kernel, affine.shift)))


def mean_over_image(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """ReduceMean over all axes but batch and channel: GlobalAveragePool, flattened where the axes are dropped."""
    if node.op != "ReduceMean" or len(node.inputs) < 2:
        return None
    axes, rank = graph.constant(node.inputs[1]), len(shapes.get(node.inputs[0], ()))
    if axes is None or rank < 3 or sorted(int(axis) % rank for axis in axes.reshape(-1)) != list(range(2, rank)):
        return None
    if node.attributes.get("keepdims", 1):
        pool = Node(op="GlobalAveragePool", inputs=node.inputs[:1], outputs=node.outputs)
        return Change(drop=(node,), put=(pool,))
    pooled = f"{node.output}.pooled"
    pool = Node(op="GlobalAveragePool", inputs=node.inputs[:1], outputs=(pooled,))
    flat = Node(op="Flatten", inputs=(pooled,), outputs=node.outputs, attributes={"axis": 1})
    return Change(drop=(node,), put=(pool, flat))


def slices_in_one(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """Slice after Slice along other axes: one Slice."""
    first = graph.producers.get(node.inputs[0]) if node.op == "Slice" else None
    if first is None or first.op != "Slice" or only_consumer(graph, first.output) is not node:
        return None
    before, after = _slice_parts(graph, first), _slice_parts(graph, node)
    if before is None or after is None or set(before[2].tolist()) & set(after[2].tolist()):
        return None
    names = tuple(f"{node.output}.{part}" for part in ("starts", "ends", "axes", "steps"))
    values = [np.concatenate(pair) for pair in zip(before, after, strict=True)]
    put = Node(op="Slice", inputs=(first.inputs[0], *names), outputs=node.outputs)
    return Change(drop=(first, node), put=(put,), constants=dict(zip(names, values, strict=True)))


def _slice_parts(graph: Graph, node: Node) -> tuple[Array, Array, Array, Array] | None:
    """Starts, ends, axes and steps of a Slice, int64; None unless constant, with axes counted from the front."""
    given = [graph.constant(name) for name in node.inputs[1:]]
    if len(given) < 3 or any(value is None for value in given):
        return None
    parts = [np.asarray(value, np.int64).reshape(-1) for value in given]
    steps = parts[3] if len(parts) > 3 else np.ones_like(parts[0])
    return None if (parts[2] < 0).any() else (parts[0], parts[1], parts[2], steps)


RULES: tuple[Rule, ...] = (
    *attention.RULES,
    matmul_of_rank_two,
    plain_gemm,
    channel_affine,
    mean_over_image,
    slices_in_one,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """gain * source + shift, one value of each a channel (axis 1), float64."""

    source: str
    gain: Array
    shift: Array


def _batch_norm(graph: Graph, node: Node) -> Affine | None:
    """A BatchNormalization with constant statistics."""
    if node.op != "BatchNormalization" or node.attributes.get("training_mode", 0):
        return None
    values = [graph.constant(name) for name in node.inputs[1:5]]
    if any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    gain = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return Affine(source=node.inputs[0], gain=gain, shift=beta - mean * gain)


def _arithmetic(graph: Graph, shapes: Shapes, node: Node) -> Affine | None:
    """Add, Sub, Mul or Div of a computed tensor and a constant of one value a channel."""
    if node.op not in ("Add", "Sub", "Mul", "Div"):
        return None
    name = constant_operand(graph, node)
    others = [other for other in node.inputs if other != name]
    if name is None or len(others) != 1 or (node.op in ("Sub", "Div") and node.inputs[1] != name):
        return None
    shape, value = shapes.get(others[0], ()), graph.constants[name]
    channels = shape[1] if len(shape) >= 3 else None
    wide = (1,) * (len(shape) - value.ndim) + value.shape
    if channels is None or channels == 1 or wide != (1, channels, *([1] * (len(shape) - 2))):
        return None
    flat = value.reshape(-1).astype(np.float64)
    one, zero = np.ones_like(flat), np.zeros_like(flat)
    gain = {"Mul": flat, "Div": 1.0 / flat}.get(node.op, one)
    shift = {"Add": flat, "Sub": -flat}.get(node.op, zero)
    return Affine(source=others[0], gain=gain, shift=shift)


def _into_product(graph: Graph, product: Node, node: Node, affine: Affine) -> Change | None:
    weight = graph.constant(product.inputs[1])
    has_bias = len(product.inputs) > 2 and product.inputs[2]
    bias = graph.constant(product.inputs[2]) if has_bias else np.zeros(len(affine.gain), np.float32)
    plain = product.op == "Conv" or product.attributes.get("transB", 0)
    if weight is None or bias is None or not plain or len(weight) != len(affine.gain):
        return None
    names = (f"{node.output}.weight", f"{node.output}.bias")
    scaled = weight * affine.gain.reshape(-1, *([1] * (weight.ndim - 1)))
    put = replace(product, inputs=(product.inputs[0], *names), outputs=node.outputs[:1])
    constants = _floats(names, (scaled, bias * affine.gain + affine.shift))
    return Change(drop=(product, node), put=(put,), constants=constants)


def _floats(names: tuple[str, ...], values: tuple[Array, ...]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(value, np.float32) for name, value in zip(names, values, strict=True)}
