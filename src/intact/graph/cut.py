"""The part of a graph that computes a few of its values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from intact.graph.view import Graph, Port


def upto(graph: Graph, names: Collection[str], *, given: Sequence[Port] = ()) -> Graph:
    """Return the nodes and constants that `names` depend on, as a graph without declared outputs.

    Args:
        graph: Any graph.
        names: Values inside it, not among those given; run the result with `Runner(..., fetch=names)`.
        given: Values inside it that are there already; those of use become inputs, behind the graph's own.
    """
    there = {port.name for port in given}
    needed = set(names)
    nodes = []
    for node in reversed(graph.nodes):
        if any(output in needed and output not in there for output in node.outputs):
            nodes.append(node)
            needed.update(node.present())
    made = {output for node in nodes for output in node.outputs}
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    inputs = (*graph.inputs, *(port for port in given if port.name in needed - made))
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants, inputs=inputs, outputs=())
