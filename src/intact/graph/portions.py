"""Run many rows with a bound on what is fetched at a time, whatever the size of the values inside a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from intact.graph.run import Runner, is_batched
from intact.graph.view import Port

Array = NDArray[Any]
Feeds = Mapping[str, Array]

MOST_BYTES: Final = 16 << 20
"""About what is fetched of one run; a single row may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some rows in a row of a larger whole, run.

    Args:
        feeds: What went in.
        values: What was fetched.
        start: Rows of the whole before these.
        rows: How many these are.
    """

    feeds: Feeds
    values: Mapping[str, Array]
    start: int
    rows: int


class Portions:
    """Cuts inputs by what earlier runs fetched for a byte of input; the same calls give the same cuts.

    Args:
        runner: What runs them.
        ports: The inputs of its graph; where their first axis is fixed, nothing is cut.
        most_bytes: What to fetch at a time.
    """

    def __init__(self, runner: Runner, ports: Sequence[Port], most_bytes: int = MOST_BYTES) -> None:
        self._runner, self._most_bytes = runner, most_bytes
        self._cuts = is_batched(ports)
        self._ratio: float | None = None

    def run(self, feeds: Feeds) -> Iterator[Portion]:
        """Run all rows of `feeds`, one portion after the other."""
        total, start = len(next(iter(feeds.values()))), 0
        while start < total:
            rows = min(self._size(_bytes(feeds) / total), total - start) if self._cuts else total
            part = {name: value[start : start + rows] for name, value in feeds.items()} if self._cuts else feeds
            values = self._runner(part)
            self._ratio = max(self._ratio or 0.0, _bytes(values) / max(_bytes(part), 1))
            yield Portion(feeds=part, values=values, start=start, rows=rows)
            start += rows

    def _size(self, row_bytes: float) -> int:
        """Rows of the next run: one where nothing is known yet."""
        if self._ratio is None:
            return 1
        return max(1, int(self._most_bytes / max(self._ratio * row_bytes, 1.0)))


def _bytes(arrays: Feeds) -> int:
    return sum(value.nbytes for value in arrays.values())
