"""Do zeros among the weights make a program faster on an engine of this host, or only smaller in storage?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact import engine
from intact.compress.patterns import Pattern, pattern
from intact.errors import UsageError
from intact.graph.program import Program

Array = NDArray[Any]

BURST = 5
FASTER = 1.05
"""Ratio of times from which on a program counts as faster."""
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseGain:
    """What zeros do to the time of a program.

    Args:
        engine: The engine that ran both.
        pattern: Where the zeros lie.
        zeros: Share of the weights that are zero.
        dense_ms, sparse_ms: Median time of a call.
        ratio: Median over rounds of dense time over sparse time.
        low, high: Its 95 % bootstrap interval.
    """

    engine: str
    pattern: str
    zeros: float
    dense_ms: float
    sparse_ms: float
    ratio: float
    low: float
    high: float

    @property
    def label(self) -> Literal["faster", "size only"]:
        """What may be said of such sparsity on this host."""
        return "faster" if self.low >= FASTER else "size only"


def sparse_gain(
    program: Program,
    feeds: Mapping[str, Array],
    *,
    sparsity: float,
    shape: str = "unstructured",
    name: str = "onnxruntime",
    threads: int | None = None,
    rounds: int = 20,
) -> SparseGain:
    """Time a program against itself with weights set to zero, in turns on the same engine.

    Args:
        program: An integer program; its weights are the tensors of int8.
        feeds: Inputs of one call.
        sparsity: Share of the weights that become zero, those of least magnitude.
        shape: Pattern of the zeros; tensors that do not divide into its runs stay dense.
        name: The engine.
        threads: Of the engine.
        rounds: Bursts of calls of each.

    Raises:
        UsageError: No weight takes the pattern; an unknown engine or pattern.
    """
    chosen = pattern(shape)
    chosen.refuse_share(sparsity)
    sparse, share = _sparse(program, chosen, sparsity)
    backend = engine.find().get(name)
    if backend is None:
        raise UsageError(f"no engine is called '{name}'", hint=f"installed: {', '.join(engine.find())}")
    options = engine.Options(threads=threads)
    sessions = [backend.load(each, options, backend.variants[0]) for each in (program, sparse)]
    times = np.array([[_burst(session, feeds) for session in sessions] for _ in range(rounds + 1)])[1:]
    middle = np.median(times, axis=2)  # (rounds, 2)
    ratios = middle[:, 0] / middle[:, 1]
    draws = np.random.default_rng(0).integers(0, rounds, (RESAMPLES, rounds))
    low, high = np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975))
    return SparseGain(
        engine=sessions[0].name,
        pattern=shape,
        zeros=share,
        dense_ms=float(np.median(times[:, 0])),
        sparse_ms=float(np.median(times[:, 1])),
        ratio=float(np.median(ratios)),
        low=float(low),
        high=float(high),
    )


def _sparse(program: Program, chosen: Pattern, sparsity: float) -> tuple[Program, float]:
    """The program with zeros, and their share of all weights."""
    tensors, weights, zeros = dict(program.tensors), 0, 0
    for name, value in program.tensors.items():
        if value.dtype != np.int8:
            continue
        rows = value.reshape(len(value), -1)
        weights += rows.size
        if rows.shape[1] % chosen.size == 0:
            keep = chosen.choose(np.square(rows.astype(np.float64)), sparsity)
            tensors[name] = np.where(keep, rows, 0).astype(np.int8).reshape(value.shape)
        zeros += int((tensors[name] == 0).sum())
    if not weights or all(tensors[name] is value for name, value in program.tensors.items()):
        raise UsageError(f"no weight of this program divides into runs of '{chosen}'")
    return replace(program, tensors=tensors), zeros / weights


def _burst(session: engine.Session, feeds: Mapping[str, Array]) -> list[float]:
    """Milliseconds of some calls in a row, after one that is not timed."""
    session.run(feeds)
    found = []
    for _ in range(BURST):
        start = time.perf_counter()
        session.run(feeds)
        found.append((time.perf_counter() - start) * 1e3)
    return found
