"""A rewrite of a few nodes as a value, and how it is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.view import Dim, Graph, Node

Array = NDArray[Any]
Shapes = Mapping[str, tuple[Dim | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a rewrite makes of a few nodes.

    Args:
        drop: Nodes that go, in order.
        put: Nodes that come, at the place of the last dropped one; `in_place`: one for each dropped, or None for none.
        constants: Constants that `put` reads.
        in_place: Put each node where its counterpart in `drop` stood.
        at_first: Put the nodes where the first dropped one stood.
    """

    drop: tuple[Node, ...]
    put: tuple[Node | None, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)
    in_place: bool = False
    at_first: bool = False


Rule = Callable[[Graph, Shapes, Node], Change | None]


def apply(graph: Graph, change: Change) -> Graph:
    """Return `graph` with `change` made."""
    places = {id(node): index for index, node in enumerate(graph.nodes)}
    dropped = [places[id(node)] for node in change.drop]
    put: dict[int, tuple[Node | None, ...]] = {(min if change.at_first else max)(dropped): change.put}
    if change.in_place:
        put = {place: (node,) for place, node in zip(dropped, change.put, strict=True)}
    gone = set(dropped)
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        if index not in gone:
            nodes.append(node)
        nodes.extend(new for new in put.get(index, ()) if new is not None)
    return graph.with_nodes(without_dead(graph, nodes), change.constants)


def without_dead(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Drop the nodes that no output depends on."""
    needed, kept = set(graph.output_names), []
    for node in reversed(nodes):
        if any(output in needed for output in node.outputs):
            kept.append(node)
            needed.update(node.present())
    return kept[::-1]


def only_consumer(graph: Graph, name: str) -> Node | None:
    """The one node that reads `name`, unless `name` is also an output of the graph."""
    consumers = graph.consumers.get(name, ())
    return consumers[0] if len(consumers) == 1 and name not in graph.output_names else None


def constant_operand(graph: Graph, node: Node) -> str | None:
    """The first input of `node` that is a constant."""
    return next((name for name in node.inputs if graph.constant(name) is not None), None)


def as_bias(value: Array | None, columns: int, rank: int) -> Array | None:
    """`value` as a bias of shape (columns,), if adding it to a tensor of `rank` axes adds one number to each column.

    Anything else that broadcasts (a number for each row, a further axis) is no bias: None.
    """
    if value is None or value.ndim > rank or value.size not in (1, columns):
        return None
    if value.size > 1 and value.shape[-1] != columns:
        return None
    return np.ascontiguousarray(np.broadcast_to(value.reshape(-1), (columns,)), dtype=value.dtype)
