"""Try the rounding of one place at a time and see how much of it reaches the outputs of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.run import Runner, batches, is_batched
from intact.graph.view import Graph, Node, Port

Array = NDArray[Any]

MOST_EXAMPLES = 32
BATCH = 16
TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is rounded.

    Args:
        value: A tensor inside the graph, or a constant.
        reader: The node that alone reads it rounded; None for all of them.
        step: It is rounded to multiples of this: one number, or for a constant some that broadcast to it.
        apart: Shape of the switches that round its channels one by one, such as (C, 1, 1); () for all at once.
    """

    value: str
    reader: Node | None
    step: Array
    apart: tuple[int, ...] = ()


def probe(graph: Graph, places: Sequence[Place], pieces: Sequence[Mapping[str, Array]]) -> list[Array]:
    """Return noise over signal in the outputs of `graph` where one place is rounded and nothing else.

    Args:
        graph: A float graph.
        places: What is tried; no two the same value for the same reader.
        pieces: Calibration data, of which some rows are run.

    Returns:
        For each place an array of shape (1,), or (C,) for channels tried apart.
    """
    runner = Runner(_switched(graph, places), fetch=[port.name for port in graph.outputs], threads=1)
    off = {f"probe{number}": np.zeros(place.apart, np.float32) for number, place in enumerate(places)}
    noise, signal = [np.zeros(each.size) for each in off.values()], 0.0
    for part in _some(graph, pieces):
        wanted = runner({**part, **off})
        signal += sum(float(np.square(each, dtype=np.float64).sum()) for each in wanted.values())
        for number, place in enumerate(places):
            for channel in range(len(noise[number])):
                switch = np.zeros(place.apart, np.float32)
                switch.reshape(-1)[channel] = 1.0
                found = runner({**part, **off, f"probe{number}": switch})
                errors = (np.square(found[n] - wanted[n], dtype=np.float64).sum() for n in wanted)
                noise[number][channel] += sum(map(float, errors))
    return [each / max(signal, TINY) for each in noise]


def _some(graph: Graph, pieces: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Some rows, from all of the data; whole pieces where the batch is fixed."""
    if is_batched(graph.inputs):
        parts = [part for piece in pieces for part in batches(piece, BATCH)]
    else:
        parts = [dict(piece) for piece in pieces]
    most = max(1, MOST_EXAMPLES // len(next(iter(parts[0].values()))))
    return parts[:: -(-len(parts) // most)]


def _switched(graph: Graph, places: Sequence[Place]) -> Graph:
    """The graph with an input of one number for each place: 0 leaves it as it is, 1 rounds it."""
    for_all = {place.value: number for number, place in enumerate(places) if place.reader is None}
    for_one = {(place.reader.output, place.value): n for n, place in enumerate(places) if place.reader is not None}
    nodes: list[Node] = []
    done: set[str] = set()

    def read(name: str, reader: Node) -> str:
        for number in (for_all.get(name), for_one.get((reader.output, name))):
            if number is not None:
                if f"probe{number}.value" not in done:
                    nodes.extend(_rounding(number, name))
                name = f"probe{number}.value"
                done.add(name)
        return name

    for node in graph.nodes:
        inputs = tuple(read(name, node) if name else "" for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
    steps = {f"probe{number}.step": np.asarray(place.step, np.float32) for number, place in enumerate(places)}
    float32 = np.dtype(np.float32)
    switches = [Port(name=f"probe{n}", dtype=float32, shape=place.apart) for n, place in enumerate(places)]
    return replace(graph, inputs=(*graph.inputs, *switches)).with_nodes(nodes, steps)


def _rounding(number: int, value: str) -> tuple[Node, ...]:
    """value + switch * (step * round(value / step) - value)."""
    name, step = f"probe{number}", f"probe{number}.step"
    chain = (
        ("Div", (value, step), "steps"),
        ("Round", (f"{name}.steps",), "whole"),
        ("Mul", (f"{name}.whole", step), "rounded"),
        ("Sub", (f"{name}.rounded", value), "error"),
        ("Mul", (f"{name}.error", name), "switched"),
        ("Add", (value, f"{name}.switched"), "value"),
    )
    return tuple(Node(op=op, inputs=inputs, outputs=(f"{name}.{output}",)) for op, inputs, output in chain)
