"""Watch the channels of tensors on calibration data: ranges, moments and a sample of each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.trace import Layout
from intact.errors import DataError
from intact.graph.run import Runner, batches, is_batched
from intact.graph.view import Graph

Array = NDArray[Any]

SAMPLE_VALUES = 1 << 15
"""Values kept of each tensor, all channels together."""
LEAST_VALUES = 256
"""Values kept of each channel, where there are as many."""
MAX_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one tensor with C channels.

    Args:
        low, high: Least and greatest value of each channel, shape (C,).
        power: Mean square of each channel, float64, shape (C,).
        sample: Values of each channel, float32, shape (C, n), spread evenly over the data.
        extent: How many values a channel has in one row of the data, on average.
    """

    low: Array
    high: Array
    power: Array
    sample: Array
    extent: float


def measure(graph: Graph, pieces: Sequence[Mapping[str, Array]], layouts: Mapping[str, Layout]) -> dict[str, Seen]:
    """Run `graph` on all rows of `pieces` and return what the channels of the tensors in `layouts` held.

    Raises:
        DataError: A value inside the graph became NaN or infinite.
    """
    inputs = {port.name for port in graph.inputs}
    inside = [name for name in layouts if name not in inputs]
    runner = Runner(graph, fetch=inside, threads=1) if inside else None
    size = MAX_BATCH if is_batched(graph.inputs) else max(_rows(piece) for piece in pieces)
    total = sum(_rows(piece) for piece in pieces)
    watchers = {name: _Watcher(name, layout, total) for name, layout in layouts.items()}
    for piece in pieces:
        for part in batches(piece, size):
            values = {**part, **(runner(part) if runner else {})}
            for name, watcher in watchers.items():
                watcher.see(values[name], _rows(part))
    return {name: watcher.finish() for name, watcher in watchers.items()}


def _rows(piece: Mapping[str, Array]) -> int:
    return len(next(iter(piece.values())))


class _Watcher:
    """Gathers what is seen of one tensor part by part; the same data give the same sample."""

    def __init__(self, name: str, layout: Layout, total: int) -> None:
        self._name, self._layout, self._total = name, layout, total
        self._low, self._high = np.full(layout.size, np.inf), np.full(layout.size, -np.inf)
        self._square = np.zeros(layout.size)
        self._samples: list[Array] = []
        self._count = 0

    def see(self, value: Array, rows: int) -> None:
        """Take in one part of so many rows of the data."""
        axis = self._layout.axis
        flat = value.reshape(1, -1) if axis is None else np.moveaxis(value, axis, 0).reshape(self._layout.size, -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise DataError(
                f"tensor '{self._name}' became NaN or infinite on the calibration data", hint="check the float model"
            )
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._square += np.square(flat, dtype=np.float64).sum(axis=1)
        self._count += flat.shape[1]
        wanted = max(LEAST_VALUES, SAMPLE_VALUES // self._layout.size) * rows / self._total
        kept = max(1, min(flat.shape[1], round(wanted)))
        self._samples.append(flat[:, np.linspace(0, flat.shape[1] - 1, kept).astype(np.int64)].astype(np.float32))

    def finish(self) -> Seen:
        """Return what was seen."""
        return Seen(
            low=self._low,
            high=self._high,
            power=self._square / self._count,
            sample=np.concatenate(self._samples, axis=1),
            extent=self._count / self._total,
        )
