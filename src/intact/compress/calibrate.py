"""Watch a float graph run on calibration data: the range of every tensor, and samples of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import DataError
from intact.graph.run import Runner, batches
from intact.graph.view import Graph, Port

Array = NDArray[Any]

SAMPLE_VALUES = 1 << 17
"""Values kept of each tensor, spread evenly over the calibration data."""
MAX_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What was seen of one tensor.

    Args:
        low, high: Least and greatest value, float.
        sample: Up to `SAMPLE_VALUES` values, float32, shape (n,).
        channel_max: Greatest magnitude along the last axis, shape (K,); what smoothing needs.
    """

    low: float
    high: float
    sample: Array
    channel_max: Array


def check_data(ports: Sequence[Port], data: Mapping[str, Array]) -> dict[str, Array]:
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
        value = value.astype(port.dtype)
    if not port.accepts(value.shape):
        raise DataError(f"input '{port.name}' has shape {value.shape}, the model wants {port.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = int((~np.isfinite(value)).sum())
        raise DataError(f"input '{port.name}' has {bad} values that are NaN or infinite", hint="clean the data first")
    return value


def calibrate(
    graph: Graph,
    data: Mapping[str, Array],
    tensors: Sequence[str],
    *,
    batch: int = MAX_BATCH,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Statistics]:
    """Run `graph` on all rows of `data` and return the statistics of `tensors`.

    Args:
        graph: The normalised float graph.
        data: Checked inputs, by name, sharing their first axis.
        tensors: Names of float values inside the graph (inputs and outputs included).
        batch: Rows run at a time.
        progress: Called with (rows done, rows in all).

    Raises:
        DataError: A value inside the graph became NaN or infinite.
    """
    inside = [name for name in tensors if name not in data]
    runner = Runner(graph, fetch=inside) if inside else None
    rows = len(next(iter(data.values())))
    watchers = {name: _Watcher(quota=SAMPLE_VALUES, rows=rows) for name in tensors}
    done = 0
    for piece in batches(data, batch):
        values = {**piece, **(runner(piece) if runner else {})}
        for name, watcher in watchers.items():
            watcher.see(name, values[name], len(next(iter(piece.values()))))
        done += len(next(iter(piece.values())))
        progress(done, rows)
    return {name: watcher.finish() for name, watcher in watchers.items()}


class _Watcher:
    """Gathers the statistics of one tensor piece by piece; the same rows give the same sample."""

    def __init__(self, *, quota: int, rows: int) -> None:
        self._per_row = max(1, quota // rows)
        self._low, self._high = np.inf, -np.inf
        self._samples: list[Array] = []
        self._channel_max: Array | None = None

    def see(self, name: str, value: Array, rows: int) -> None:
        low, high = float(value.min()), float(value.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(
                f"tensor '{name}' became NaN or infinite on the calibration data", hint="check the model in float"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)
        flat = value.reshape(-1)
        step = max(1, flat.size // (self._per_row * rows))
        # an odd step visits every channel in turn instead of the same one again and again
        self._samples.append(flat[:: step | 1].astype(np.float32))
        channels = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
        if self._channel_max is None or self._channel_max.shape != channels.shape:
            self._channel_max = channels if self._channel_max is None else np.zeros(0, np.float32)
        else:
            self._channel_max = np.maximum(self._channel_max, channels)

    def finish(self) -> Statistics:
        empty = np.zeros(0, np.float32)
        channels = empty if self._channel_max is None else self._channel_max
        return Statistics(low=self._low, high=self._high, sample=np.concatenate(self._samples), channel_max=channels)
