"""Time float and integer models side by side on every engine of the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import engine
from intact.engine import EngineError, Session
from intact.graph.program import Program
from intact.pipeline.building import Built

Array = NDArray[Any]

BATCHES = (1, 32)
SECONDS = 0.6
"""Time spent on one shape."""
SETTLE_S = 0.05
WARM_UPS = 3
BURST = 10
"""Timed calls in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one call.

    Args:
        engine: Name of the engine.
        kind: "float" or "integer".
        rows: Rows of the call.
        shape: Shape of the first input, such as "32x3x32x32".
        median_ms, p10_ms, p90_ms: Over all calls.
    """

    engine: str
    kind: str
    rows: int
    shape: str
    median_ms: float
    p10_ms: float
    p90_ms: float


def measure(built: Built, *, threads: int | None = None) -> tuple[Timing, ...]:
    """Return timings of both models, in turns, for 1 and 32 rows."""
    sessions = _sessions(built, threads)
    timings: list[Timing] = []
    for rows in BATCHES:
        inputs = engine.inputs_of(built.loaded.session, built.vectors, _leading(built, rows))
        shape = "x".join(str(size) for size in next(iter(inputs.values())).shape)
        calls = {key: _bind(session, inputs) for key, session in sessions.items()}
        for (name, kind), times in interleaved(calls, seconds=SECONDS).items():
            low, middle, high = (float(value) for value in np.quantile(times, [0.1, 0.5, 0.9]) * 1e3)
            timings.append(
                Timing(engine=name, kind=kind, rows=rows, shape=shape, median_ms=middle, p10_ms=low, p90_ms=high)
            )
    return tuple(timings)


def _sessions(built: Built, threads: int | None) -> dict[tuple[str, str], Session]:
    programs = {"float": Program.from_proto(built.plan.graph.to_proto()), "integer": built.program}
    options = engine.Options(threads=threads)
    found: dict[tuple[str, str], Session] = {}
    for name, backend in engine.find().items():
        if not backend.automatic or backend.why_unavailable() is not None:
            continue
        for kind, program in programs.items():
            try:
                found[name, kind] = backend.load(program, options, backend.ranked(program)[0])
            except EngineError:
                continue  # an engine that cannot take this model has no time to show; the choice says why
    return found


def _bind(session: Session, inputs: Mapping[str, Array]) -> Callable[[], object]:
    return lambda: session.run(inputs)


def _leading(built: Built, rows: int) -> dict[str, int]:
    return {port.shape[0]: rows for port in built.plan.graph.inputs if port.shape and isinstance(port.shape[0], str)}


def interleaved(calls: Mapping[Any, Callable[[], object]], *, seconds: float) -> dict[Any, Array]:
    """Return seconds of every call, the candidates in turns, a burst each.

    The workers of one engine may spin on for a while after its last call and would slow the next: each burst waits
    for them first, and its first calls do not count.
    """
    times: dict[Any, list[float]] = {key: [] for key in calls}
    end = time.perf_counter() + seconds
    while calls and (not all(times.values()) or time.perf_counter() < end):
        for key, call in calls.items():
            time.sleep(SETTLE_S)
            for _ in range(WARM_UPS):
                call()
            for _ in range(BURST):
                start = time.perf_counter()
                call()
                times[key].append(time.perf_counter() - start)
    return {key: np.asarray(values) for key, values in times.items()}
