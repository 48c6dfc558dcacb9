"""The part of a graph that computes a few of its values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from intact.graph.view import Graph


def upto(graph: Graph, names: Collection[str]) -> Graph:
    """Return the nodes and constants that `names` depend on, as a graph without declared outputs.

    Args:
        graph: Any graph.
        names: Values inside it; run the result with `Runner(..., fetch=names)`.
    """
    needed = set(names)
    nodes = []
    for node in reversed(graph.nodes):
        if any(output in needed for output in node.outputs):
            nodes.append(node)
            needed.update(node.present())
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants, outputs=())
