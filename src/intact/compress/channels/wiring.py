"""Which channels of which tensors are one and the same, so that they can only go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.view import Dim, Graph, Node

Ids = NDArray[np.int64]
Array = NDArray[Any]
FIXED = 0
"""The unit of all channels that must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The channels of one tensor.

    Args:
        axis: Where they lie, counted from the front.
        ids: The channel variable at each place; int64, shape (channels,).
    """

    axis: int
    ids: Ids


class Tracing:
    """Follows channels through a graph: variables for channels, and which of them are tied to each other.

    Source:
        The dependency graph of Fang et al. 2023, arXiv:2301.12900, here with a variable for each single channel.
    """

    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[Dim | None, ...]]) -> None:
        self.graph, self.shapes = graph, shapes
        self.lanes: dict[str, Lane] = {}
        self._parents: list[int] = [FIXED]

    def fresh(self, count: int) -> Ids:
        """Variables for `count` channels that are tied to nothing yet."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def find(self, name: int) -> int:
        """The variable that stands for all that `name` is tied to."""
        while self._parents[name] != name:
            self._parents[name] = self._parents[self._parents[name]]
            name = self._parents[name]
        return name

    def tie(self, first: Iterable[int], second: Iterable[int]) -> None:
        """Let channels go only together, pair by pair."""
        for one, other in zip(first, second, strict=True):
            low, high = sorted((self.find(int(one)), self.find(int(other))))
            self._parents[high] = low

    def pin(self, names: Iterable[str]) -> None:
        """Let all channels of these tensors stay."""
        for name in names:
            lane = self.lanes.get(name)
            if lane is not None:
                self.tie(lane.ids, np.zeros(len(lane.ids), np.int64))

    def rank(self, name: str) -> int | None:
        """Axes of a tensor, where that is known."""
        shape = self.shapes.get(name)
        return None if shape is None else len(shape)

    def settled(self) -> dict[str, Lane]:
        """The channels of every tensor in units: a variable for each set of tied ones, `FIXED` for what stays."""
        units = np.array([self.find(name) for name in range(len(self._parents))], np.int64)
        return {name: Lane(axis=lane.axis, ids=units[lane.ids]) for name, lane in self.lanes.items()}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Units that lie in the same tensors, so that it is the same to all but the values which of them go.

    Args:
        units: Their numbers, ascending.
        places: How many channels of each tensor belong to one unit.
    """

    units: tuple[int, ...]
    places: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A graph, and the channels of its tensors.

    Args:
        graph: The graph.
        shapes: Of its tensors.
        lanes: Channels by tensor in terms of units; a tensor that is not there has none that could go.
        groups: All units but the fixed one.
    """

    graph: Graph
    shapes: Mapping[str, tuple[Dim | None, ...]]
    lanes: Mapping[str, Lane]
    groups: tuple[Group, ...]

    def units(self, name: str) -> Ids | None:
        """The unit of each channel of a tensor; None where none can go."""
        lane = self.lanes.get(name)
        return None if lane is None else lane.ids

    def readers(self, units: Iterable[int]) -> tuple[Node, ...]:
        """The products that read any of `units` as their input columns."""
        wanted = np.array(sorted(units))
        return tuple(
            node
            for node in products(self.graph)
            if not is_depthwise(self.graph, node)
            and (found := self.units(node.inputs[0])) is not None
            and bool(np.isin(found, wanted).any())
        )


def grouped(lanes: Mapping[str, Lane]) -> tuple[Group, ...]:
    """Sort the units of `lanes` into groups, in the order in which they first appear."""
    places: dict[int, dict[str, int]] = {}
    for name, lane in lanes.items():
        for unit, count in zip(*np.unique(lane.ids, return_counts=True), strict=True):
            places.setdefault(int(unit), {})[name] = int(count)
    places.pop(FIXED, None)
    found: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for unit, where in places.items():
        found.setdefault(tuple(where.items()), []).append(unit)
    return tuple(Group(units=tuple(sorted(units)), places=dict(where)) for where, units in found.items())


def products(graph: Graph) -> tuple[Node, ...]:
    """The Conv, Gemm and MatMul nodes with constant weights."""
    return tuple(
        node
        for node in graph.nodes
        if node.op in ("Conv", "Gemm", "MatMul") and graph.constant(node.inputs[1]) is not None
    )


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether a product is a convolution whose filters see one channel each."""
    return node.op == "Conv" and node.attributes.get("group", 1) > 1 and graph.constants[node.inputs[1]].shape[1] == 1


def is_grouped(graph: Graph, node: Node) -> bool:
    """Whether a product is a convolution in groups of several channels; all of its channels stay."""
    return node.op == "Conv" and node.attributes.get("group", 1) > 1 and not is_depthwise(graph, node)
