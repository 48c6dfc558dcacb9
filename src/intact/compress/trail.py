"""Look at one value of a graph after the other, going on from where the run before it ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.cut import upto
from intact.graph.run import Runner
from intact.graph.view import Graph, Port

Array = NDArray[Any]
Feeds = Mapping[str, Array]


class Trail:
    """Runs a graph on the same data again and again, each time up to a later value.

    Values held from one run to the next spare it what comes before them; a value that is not held is computed from the
    inputs. The engine fuses across a value that is not held, so it may differ then in the last place: the bound on what
    is held is part of the result. The number of threads is not: all is run by one.

    Args:
        parts: The data.
        most_bytes: Most to hold; where more would be, what was held before stays.
    """

    def __init__(self, parts: Sequence[Feeds], most_bytes: int) -> None:
        self._parts, self._most_bytes = parts, most_bytes
        self._held: Sequence[Feeds] = [{} for _ in parts]

    def run(self, graph: Graph, name: str, keep: Collection[str] = ()) -> Iterator[Array]:
        """Yield what `name` is for each part of the data; take it to the end.

        Args:
            graph: In which values held from earlier runs have the same names and meaning.
            name: An input, or a value inside.
            keep: Values to hold for later runs.
        """
        there = self._parts[0].keys() | self._held[0].keys()
        wanted = [each for each in dict.fromkeys([name, *keep]) if each not in there]
        graph = upto(graph, wanted, given=self._ports())
        runner = Runner(graph, fetch=wanted, threads=1) if wanted else None
        kept: list[Feeds] = []
        size = 0
        for part, held in zip(self._parts, self._held, strict=True):
            values = {**part, **held}
            if runner is not None:
                values |= runner({port.name: values[port.name] for port in graph.inputs})
            if size <= self._most_bytes:
                kept.append({each: values[each] for each in keep if each not in part})
                size += sum(value.nbytes for value in kept[-1].values())
            yield values[name]
        if size <= self._most_bytes:
            self._held = kept

    def _ports(self) -> list[Port]:
        """What is held, as inputs: a size is free where it varies."""
        return [_port(name, [held[name] for held in self._held]) for name in self._held[0]]


def _port(name: str, values: Sequence[Array]) -> Port:
    sizes = np.array([value.shape for value in values])
    shape = tuple(
        int(sizes[0, axis]) if (sizes[:, axis] == sizes[0, axis]).all() else f"{name}_{axis}"
        for axis in range(values[0].ndim)
    )
    return Port(name=name, dtype=values[0].dtype, shape=shape)
