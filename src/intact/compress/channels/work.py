"""Multiply-adds of a graph, and what they become as channels go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intact.compress.channels.wiring import Wiring, is_depthwise, is_grouped, products
from intact.graph.shapes import infer_shapes
from intact.graph.view import Dim, Graph, Node


def multiply_adds(graph: Graph) -> int:
    """Multiply-adds of all products with constant weights for one example; a named size counts as one."""
    shapes = infer_shapes(graph)
    return sum(_places(node, shapes) * graph.constants[node.inputs[1]].size for node in products(graph))


def _places(node: Node, shapes: Mapping[str, tuple[Dim | None, ...]]) -> int:
    """Positions at which a product's weights are applied to one example."""
    shape = shapes.get(node.output, ())
    sizes = shape[2:] if node.op == "Conv" else shape[1:-1]
    return math.prod(size if isinstance(size, int) else 1 for size in sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """One product: unit * (fixed columns + channels of groups) * (fixed rows + channels of groups).

    Args:
        unit: Multiply-adds of one row with one column.
        columns, rows: Channels that stay, and by group number those of one of its units.
    """

    unit: float
    columns: tuple[int, Mapping[int, int]]
    rows: tuple[int, Mapping[int, int]]


LANES = 16
"""Output channels that the int8 kernels of onnxruntime and OpenVINO compute at once with AVX-512."""
FLOOR = 4
"""Input channels' worth of time that each output takes besides: loading, requantizing, storing."""


class Work:
    """The multiply-adds of a graph, and the time they take, as functions of how many units of each group stay."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._terms = tuple(self._term(node) for node in products(wiring.graph))

    def __call__(self, counts: Sequence[int]) -> int:
        """Multiply-adds for one example with `counts[g]` units of group g."""
        return round(sum(t.unit * _size(t.columns, counts) * _size(t.rows, counts) for t in self._terms))

    def effort(self, counts: Sequence[int]) -> float:
        """About the time they take, in multiply-adds: outputs are computed `LANES` at once, whether wanted or not.

        Measured with one thread of an AVX-512 VNNI machine, OpenVINO, 3 x 3 convolutions of 32 images: 16 to 8 channels
        take as long as 16 to 16 (in onnxruntime longer), and 8 to 16 channels 0.6 of it.
        """
        return sum(
            term.unit * (_size(term.columns, counts) + FLOOR) * (-(-_size(term.rows, counts) // LANES) * LANES)
            for term in self._terms
        )

    def _term(self, node: Node) -> _Term:
        graph = self._wiring.graph
        weight = graph.constants[node.inputs[1]]
        places = _places(node, self._wiring.shapes)
        rows, columns = (weight.shape[1], weight.shape[0]) if node.op == "MatMul" else weight.shape[:2]
        taps = math.prod(weight.shape[2:])
        if is_depthwise(graph, node) or is_grouped(graph, node):
            return _Term(unit=places * taps, columns=(columns, {}), rows=self._channels(node.output, rows))
        return _Term(
            unit=places * taps,
            columns=self._channels(node.inputs[0], columns),
            rows=self._channels(node.output, rows),
        )

    def _channels(self, name: str, size: int) -> tuple[int, Mapping[int, int]]:
        of_groups = {
            number: group.places[name] for number, group in enumerate(self._wiring.groups) if name in group.places
        }
        moving = sum(len(self._wiring.groups[number].units) * count for number, count in of_groups.items())
        return size - moving, of_groups


def _size(channels: tuple[int, Mapping[int, int]], counts: Sequence[int]) -> int:
    fixed, moving = channels
    return fixed + int(np.sum([counts[number] * count for number, count in moving.items()], dtype=np.int64))
