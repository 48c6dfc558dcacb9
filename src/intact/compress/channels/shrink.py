"""Cut channels out of a graph: weights, and every attribute that counts channels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.channels.rules import ARITHMETIC, constant_axis
from intact.compress.channels.wiring import Wiring, is_depthwise, is_grouped
from intact.graph.view import Graph, Node

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Cut = tuple[Node, Mapping[str, Array]]
"""A node as it is with fewer channels, and the constants that it then reads."""


def shrink(wiring: Wiring, gone: Collection[int]) -> Graph:
    """Return the graph of `wiring` without the units in `gone`, the values of all other weights as they were."""
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    for node in wiring.graph.nodes:
        cut = CUTS.get(node.op)
        changed, values = (node, {}) if cut is None or node.domain else cut(wiring, frozenset(gone), node)
        nodes.append(changed)
        constants.update(values)
    return wiring.graph.with_nodes(nodes, constants)


def stays(wiring: Wiring, gone: Collection[int], name: str) -> Mask | None:
    """Which channels of a tensor stay; None where none can go."""
    units = wiring.units(name)
    return None if units is None else ~np.isin(units, np.array(sorted(gone), np.int64))


def _product(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    graph = wiring.graph
    weight = graph.constant(node.inputs[1])
    if weight is None or is_grouped(graph, node):
        return node, {}
    columns = stays(wiring, gone, node.inputs[0])
    rows = stays(wiring, gone, node.output)
    row_axis, column_axis = (1, 0) if node.op == "MatMul" else (0, 1)
    if is_depthwise(graph, node):
        if columns is None:
            return node, {}
        node = replace(node, attributes={**node.attributes, "group": int(columns.sum())})
        columns = None
    values = {node.inputs[1]: _take(_take(weight, rows, row_axis), columns, column_axis)}
    if len(node.inputs) > 2 and node.inputs[2]:
        values[node.inputs[2]] = _take(graph.constants[node.inputs[2]], rows, 0)
    return node, values


def _take(value: Array, mask: Mask | None, axis: int) -> Array:
    return value if mask is None else np.compress(mask, value, axis=axis)


def _arithmetic(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    """Cut a constant that has a value for each channel."""
    constants = [name for name in node.inputs if wiring.graph.constant(name) is not None]
    mask = stays(wiring, gone, node.output)
    if not constants or mask is None:
        return node, {}
    value = wiring.graph.constants[constants[0]]
    rank, axis = len(wiring.shapes[node.output]), wiring.lanes[node.output].axis
    if constant_axis(axis, rank, value.shape) is None:
        return node, {}
    return node, {constants[0]: _take(value, mask, axis - (rank - value.ndim))}


def _pad(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    mask, inner = stays(wiring, gone, node.output), stays(wiring, gone, node.inputs[0])
    if mask is None or inner is None or len(mask) == len(inner):
        return node, {}
    axis, pads = wiring.lanes[node.output].axis, wiring.graph.constants[node.inputs[1]].copy()
    half, before = len(pads) // 2, int(pads[axis])
    pads[axis], pads[axis + half] = mask[:before].sum(), mask[before + len(inner) :].sum()
    if not pads.any():
        return replace(node, op="Identity", inputs=node.inputs[:1], attributes={}), {}
    return _with_constant(node, 1, pads, "pads")


def _slice(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    mask = stays(wiring, gone, node.inputs[0])
    if mask is None or stays(wiring, gone, node.output) is None:
        return node, {}
    lane, constants = wiring.lanes[node.inputs[0]], wiring.graph.constants
    places = np.flatnonzero(constants[node.inputs[3]] % len(wiring.shapes[node.inputs[0]]) == lane.axis)
    if not len(places):
        return node, {}
    starts, ends = constants[node.inputs[1]].copy(), constants[node.inputs[2]].copy()
    start, end, _ = slice(int(starts[places[0]]), int(ends[places[0]])).indices(len(mask))
    starts[places[0]], ends[places[0]] = mask[:start].sum(), mask[:end].sum()
    first, values = _with_constant(node, 1, starts, "starts")
    second, more = _with_constant(first, 2, ends, "ends")
    return second, {**values, **more}


def _split(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    masks = [stays(wiring, gone, name) for name in node.outputs]
    known = [mask for mask in masks if mask is not None]
    rank = len(wiring.shapes.get(node.inputs[0], ()))
    lane = wiring.lanes.get(node.inputs[0])
    if lane is None or len(known) < len(masks) or node.attributes.get("axis", 0) % rank != lane.axis:
        return node, {}
    return _with_constant(node, 1, np.array([mask.sum() for mask in known], np.int64), "split")


def _reshape(wiring: Wiring, gone: frozenset[int], node: Node) -> Cut:
    mask = stays(wiring, gone, node.output)
    target = wiring.graph.constant(node.inputs[1])
    if mask is None or target is None or target[1] == -1:
        return node, {}
    return _with_constant(node, 1, np.array([target[0], mask.sum()], np.int64), "shape")


def _with_constant(node: Node, place: int, value: Array, ending: str) -> Cut:
    """`node` with a constant of its own at one of its inputs."""
    name = f"{node.output}.{ending}"
    inputs = (*node.inputs[:place], name, *node.inputs[place + 1 :])
    return replace(node, inputs=inputs), {name: np.asarray(value, np.int64)}


CUTS: dict[str, Callable[[Wiring, frozenset[int], Node], Cut]] = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), _product),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Reshape": _reshape,
}
