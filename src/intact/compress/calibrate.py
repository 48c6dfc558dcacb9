"""Watch a float graph run on calibration data: the range of every tensor, and samples of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import DataError
from intact.graph.portions import Portions
from intact.graph.run import Runner, batches, is_batched
from intact.graph.view import Graph, Port

Array = NDArray[Any]
Feeds = Mapping[str, Array]

SAMPLE_VALUES = 1 << 17
"""Values kept of each tensor, spread evenly over the calibration data."""
SAMPLE_ROWS = 1024
"""Rows kept of each tensor that enters a matrix product with constant weights, spread likewise."""
MAX_BATCH = 64
"""Rows over which samples are spread; fewer are run at a time where what is watched is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What was seen of one tensor, whose last axis has K channels.

    Args:
        low, high: Least and greatest value.
        sample: Up to about `SAMPLE_VALUES` values, float32, shape (n,).
        rows: Up to about `SAMPLE_ROWS` rows along the last axis, float32, shape (m, K); (0, 0) where K varies, or no
            matrix product with constant weights reads the tensor.
        channel_low, channel_high: Least and greatest value of each channel, shape (K,); (0,) where K varies.
    """

    low: float
    high: float
    sample: Array
    rows: Array
    channel_low: Array
    channel_high: Array


def check_data(ports: Sequence[Port], data: Feeds) -> dict[str, Array]:
    """Return `data` in the order and dtype of `ports`, or say what does not fit.

    Raises:
        DataError: Names, dtypes or shapes differ; no rows; a NaN or an infinity.
    """
    wanted = [port.name for port in ports]
    if sorted(data) != sorted(wanted):
        raise DataError(
            f"the data name the inputs {sorted(data)}, the model {sorted(wanted)}", hint="rename the arrays"
        )
    checked = {port.name: _check_array(port, np.asarray(data[port.name])) for port in ports}
    rows = {name: len(value) for name, value in checked.items() if value.ndim}
    if len(set(rows.values())) > 1:
        raise DataError(f"the inputs have different numbers of rows: {rows}")
    return checked


def _check_array(port: Port, value: Array) -> Array:
    if value.size == 0:
        raise DataError(f"input '{port.name}' has no rows (shape {value.shape})", hint="give at least one example")
    if value.dtype != port.dtype:
        if not np.can_cast(value.dtype, port.dtype, casting="same_kind"):
            raise DataError(f"input '{port.name}' is {value.dtype}, the model wants {port.dtype}")
        value = _converted(port, value)
    if not port.accepts(value.shape):
        raise DataError(f"input '{port.name}' has shape {value.shape}, the model wants {port.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = int((~np.isfinite(value)).sum())
        raise DataError(f"input '{port.name}' has {bad} values that are NaN or infinite", hint="clean the data first")
    return value


def _converted(port: Port, value: Array) -> Array:
    """The same numbers in the dtype of `port`; floats are rounded, integers must fit."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused below
        result = value.astype(port.dtype)
    if port.dtype.kind in "iu" and not np.array_equal(result, value):
        raise DataError(f"input '{port.name}' has numbers that do not fit {port.dtype}")
    return result


def calibrate(
    graph: Graph,
    pieces: Sequence[Feeds],
    tensors: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Statistics]:
    """Run `graph` on all rows of `pieces` and return the statistics of `tensors`.

    Args:
        graph: The normalised float graph.
        pieces: Checked inputs by name; shapes may differ from piece to piece, such as sentences of several lengths.
        tensors: Names of float values inside the graph (inputs and outputs included).
        progress: Called with (rows done, rows in all).

    Raises:
        DataError: A value inside the graph became NaN or infinite.
    """
    inputs = {port.name for port in graph.inputs}
    inside = [name for name in tensors if name not in inputs]
    portions = Portions(Runner(graph, fetch=inside, threads=1), graph.inputs)
    total, done = sum(row_count(piece) for piece in pieces), 0
    weighed = _weighed(graph)
    watchers = {name: _Watcher(name, keeps_rows=name in weighed) for name in tensors}
    for part in _parts(pieces, is_batched(graph.inputs)):
        whole = row_count(part)
        for portion in portions.run(part):
            place = _Place(start=portion.start, rows=portion.rows, whole=whole, share=whole / total)
            values = {**portion.feeds, **portion.values}
            for name, watcher in watchers.items():
                watcher.see(values[name], place)
            done += portion.rows
            progress(done, total)
    return {name: watchers.pop(name).finish() for name in list(watchers)}  # one tensor twice in memory at a time


def row_count(piece: Feeds) -> int:
    """How many rows a piece has."""
    return len(next(iter(piece.values())))


def _parts(pieces: Iterable[Feeds], are_batched: bool) -> Iterable[dict[str, Array]]:
    for piece in pieces:
        yield from batches(piece, MAX_BATCH if are_batched else row_count(piece))


def _weighed(graph: Graph) -> set[str]:
    """What enters matrix products with constant weights."""
    products = [node for node in graph.nodes if node.op in ("MatMul", "Gemm")]
    return {node.inputs[0] for node in products if graph.constant(node.inputs[1]) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in a part some rows lie, all of which are run one after the other.

    Args:
        start: Rows of the part before these.
        rows: How many these are.
        whole: Rows of the part.
        share: Its share of all rows.
    """

    start: int
    rows: int
    whole: int
    share: float

    def pick(self, items: Array, most: int) -> Array:
        """Of items that belong to these rows, those that are among about `most` spread evenly over all data.

        They are spread evenly over the part, at least one, and not in step with a channel axis; it does not matter to
        them in how many goes the part is run.
        """
        count, before = len(items) * self.whole // self.rows, len(items) * self.start // self.rows
        wanted = max(1, min(count, round(most * self.share)))
        places = np.linspace(0, count - 1, wanted).astype(np.int64) - before
        return items[places[(places >= 0) & (places < len(items))]]


class _Watcher:
    """Gathers the statistics of one tensor part by part; the same data give the same sample."""

    def __init__(self, name: str, *, keeps_rows: bool) -> None:
        self._name = name
        self._keeps_rows = keeps_rows
        self._low, self._high = np.inf, -np.inf
        self._samples: list[Array] = []
        self._rows: list[Array] = []
        self._channels: tuple[Array, Array] | None = None
        self._varies = False

    def see(self, value: Array, place: _Place) -> None:
        """Take in the values of some rows."""
        low, high = float(value.min()), float(value.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(
                f"tensor '{self._name}' became NaN or infinite on the calibration data", hint="check the float model"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._samples.append(place.pick(value.reshape(-1), SAMPLE_VALUES).astype(np.float32))
        self._see_rows(value.reshape(-1, value.shape[-1] if value.ndim else 1), place)

    def _see_rows(self, rows: Array, place: _Place) -> None:
        lows, highs = rows.min(axis=0), rows.max(axis=0)
        if self._channels is not None and len(self._channels[0]) != len(lows):
            self._varies = True
        if self._varies:
            return
        before = self._channels or (lows, highs)
        self._channels = (np.minimum(before[0], lows), np.maximum(before[1], highs))
        if self._keeps_rows:
            self._rows.append(place.pick(rows, SAMPLE_ROWS).astype(np.float32))

    def finish(self) -> Statistics:
        """Return what was seen."""
        none = np.zeros(0, np.float32)
        lows, highs = (none, none) if self._varies or self._channels is None else self._channels
        return Statistics(
            low=self._low,
            high=self._high,
            sample=np.concatenate(self._samples),
            rows=np.zeros((0, 0), np.float32) if self._varies or not self._rows else np.concatenate(self._rows),
            channel_low=lows,
            channel_high=highs,
        )
