"""One spelling per idea: small rewrites of a float graph that leave its function as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.shapes import infer_shapes
from intact.graph.view import Dim, Graph, Node

Array = NDArray[Any]
Shapes = Mapping[str, tuple[Dim | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a rewrite makes of a few nodes: `drop` goes, `put` stands where the last dropped node stood."""

    drop: tuple[Node, ...]
    put: tuple[Node, ...]
    constants: Mapping[str, Array]


Rule = Callable[[Graph, Shapes, Node], Change | None]


def rewrite(graph: Graph) -> Graph:
    """Apply every rule wherever it fits, until none does."""
    shapes = infer_shapes(graph)
    changed = True
    while changed:
        changed = False
        for rule in RULES:
            for node in graph.nodes:
                change = rule(graph, shapes, node)
                if change is not None:
                    graph = _apply(graph, change)
                    changed = True
                    break
    return graph


def _apply(graph: Graph, change: Change) -> Graph:
    last = max(index for index, node in enumerate(graph.nodes) if node in change.drop)
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        if node not in change.drop:
            nodes.append(node)
        if index == last:
            nodes.extend(change.put)
    return graph.with_nodes(nodes, change.constants)


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
    flat = None if bias is None else np.broadcast_to(bias, (1, len(rows)))[0]
    if node.attributes.get("transB", 0) and alpha == beta == 1.0 and (bias is None or bias.shape == flat.shape):
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
    add = _only_consumer(graph, node.output)
    bias_name = _constant_operand(graph, add) if add is not None and add.op == "Add" else None
    if add is not None and bias_name is not None and graph.constants[bias_name].size in (1, len(weight.T)):
        bias = np.broadcast_to(graph.constants[bias_name].reshape(-1), (len(weight.T),))
        constants[f"{node.output}.bias"] = np.ascontiguousarray(bias)
        gemm = Node(op="Gemm", inputs=(node.inputs[0], *constants), outputs=add.outputs, attributes={"transB": 1})
        return Change(drop=(node, add), put=(gemm,), constants=constants)
    gemm = Node(op="Gemm", inputs=(node.inputs[0], name), outputs=node.outputs, attributes={"transB": 1})
    return Change(drop=(node,), put=(gemm,), constants=constants)


def batch_norm_into_gemm(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """BatchNormalization right after a Gemm: into its weight and bias."""
    affine = _batch_norm(graph, node)
    gemm = graph.producers.get(node.inputs[0])
    if affine is None or gemm is None or gemm.op != "Gemm" or _only_consumer(graph, gemm.output) is not node:
        return None
    weight = graph.constant(gemm.inputs[1])
    if weight is None or not gemm.attributes.get("transB", 0):
        return None
    gain, shift = affine
    old = graph.constant(gemm.inputs[2]) if len(gemm.inputs) > 2 else np.zeros(len(weight), np.float32)
    if old is None:
        return None
    names = (f"{node.output}.weight", f"{node.output}.bias")
    values = (weight * gain[:, None], old * gain + shift)
    put = replace(gemm, inputs=(gemm.inputs[0], *names), outputs=node.outputs[:1])
    constants = {name: value.astype(np.float32) for name, value in zip(names, values, strict=True)}
    return Change(drop=(gemm, node), put=(put,), constants=constants)


def batch_norm_alone(graph: Graph, shapes: Shapes, node: Node) -> Change | None:
    """BatchNormalization with nothing to go into: a depthwise convolution of one tap (images and signals)."""
    affine = _batch_norm(graph, node)
    rank = len(shapes.get(node.inputs[0], ())) if affine is not None else 0
    producer = graph.producers.get(node.inputs[0])
    if affine is None or rank < 3 or (producer is not None and producer.op == "Gemm"):
        return None
    gain, shift = affine
    names = (f"{node.output}.weight", f"{node.output}.bias")
    kernel = gain.reshape(-1, 1, *([1] * (rank - 2))).astype(np.float32)
    attributes = {"group": len(gain), "kernel_shape": [1] * (rank - 2)}
    put = Node(op="Conv", inputs=(node.inputs[0], *names), outputs=node.outputs[:1], attributes=attributes)
    return Change(drop=(node,), put=(put,), constants=dict(zip(names, (kernel, shift.astype(np.float32)), strict=True)))


RULES: tuple[Rule, ...] = (batch_norm_into_gemm, batch_norm_alone, matmul_of_rank_two, plain_gemm)


def _batch_norm(graph: Graph, node: Node) -> tuple[Array, Array] | None:
    """Gain and shift of a BatchNormalization with constant statistics."""
    if node.op != "BatchNormalization" or node.attributes.get("training_mode", 0):
        return None
    values = [graph.constant(name) for name in node.inputs[1:5]]
    if any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    gain = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return gain, beta - mean * gain


def _only_consumer(graph: Graph, name: str) -> Node | None:
    consumers = graph.consumers.get(name, ())
    return consumers[0] if len(consumers) == 1 and name not in graph.output_names else None


def _constant_operand(graph: Graph, node: Node) -> str | None:
    return next((name for name in node.inputs if graph.constant(name) is not None), None)
