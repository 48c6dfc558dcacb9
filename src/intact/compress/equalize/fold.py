"""Take factors into the constants of a graph, so that every tensor is divided by its own and no output changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.trace import Trace
from intact.graph.view import Graph, Node

Array = NDArray[Any]


def fold(trace: Trace, factors: Mapping[str, Array]) -> Graph:
    """Return the graph in which every tensor is divided by its factors.

    Args:
        trace: Of the graph.
        factors: For every tensor of the trace its factors, positive, float64, one for each channel; channels that
            share a label have one factor, and those with label 0 have the factor one.

    Returns:
        A graph with the same names, the same outputs in real arithmetic, and float32 constants rounded once.

    Source:
        Nagel et al. 2019, arXiv:1906.04721, section 4.1.
    """
    graph = trace.graph
    constants, nodes = dict(graph.constants), []
    for node in graph.nodes:
        if trace.folds.get(node.output) is not node:
            nodes.append(node)
        elif node.op == "Clip":
            put, bounds = _bounds(graph, node, float(factors[node.output][0]))
            constants.update(bounds)
            nodes.append(put)
        else:
            take = _shift if node.op in ("Add", "Sub") else _product
            constants.update(take(trace, node, factors))
            nodes.append(node)
    return replace(graph, nodes=()).with_nodes(nodes, constants)


def columns(weight: Array, node: Node, factors: Array) -> Array:
    """The factors of a product's input, shaped to multiply its weight; one for each row and column of a Conv."""
    if node.op == "MatMul":
        return np.broadcast_to(factors, (len(weight),))[:, None]
    group = int(node.attributes.get("group", 1))
    read = np.broadcast_to(factors, (weight.shape[1] * group,)).reshape(group, weight.shape[1])
    rows = np.repeat(read, len(weight) // group, axis=0)
    return rows.reshape(len(weight), weight.shape[1], *([1] * (weight.ndim - 2)))


def _product(trace: Trace, node: Node, factors: Mapping[str, Array]) -> dict[str, Array]:
    """w * f_in / f_out and b / f_out."""
    weight = trace.graph.constants[node.inputs[1]]
    made = factors[node.output]
    rows = made[None, :] if node.op == "MatMul" else made.reshape(-1, *([1] * (weight.ndim - 1)))
    found = {node.inputs[1]: _float32(weight * columns(weight, node, factors[node.inputs[0]]) / rows)}
    if len(node.inputs) > 2 and node.inputs[2]:
        found[node.inputs[2]] = _float32(trace.graph.constants[node.inputs[2]] / made)
    return found


def _shift(trace: Trace, node: Node, factors: Mapping[str, Array]) -> dict[str, Array]:
    (name,) = (each for each in node.inputs if trace.graph.constant(each) is not None)
    value, layout = trace.graph.constants[name], trace.layouts[node.output]
    if layout.axis is None:
        return {name: _float32(value / factors[node.output][0])}
    shape = [1] * trace.ranks[node.output]
    shape[layout.axis] = layout.size
    return {name: _float32(value / factors[node.output].reshape(shape))}


def _bounds(graph: Graph, node: Node, factor: float) -> tuple[Node, dict[str, Array]]:
    """Bounds of its own for a Clip, for constants of one value may be shared."""
    names = {name: f"{node.output}.bound{place}" for place, name in enumerate(node.inputs[1:]) if name}
    found = {own: _float32(graph.constants[name].astype(np.float64) / factor) for name, own in names.items()}
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)), found


def _float32(value: Array) -> Array:
    return np.ascontiguousarray(value, np.float32)
