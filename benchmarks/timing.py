"""Time candidates against each other on a machine that is never quite quiet.

Every round gives each candidate one burst of calls, after a sleep in which the threads of the one before it go to sleep
too: onnxruntime's spin for some 20 ms, and whoever runs meanwhile takes twice as long. Ratios are taken inside a
round, so that drift cancels. What other processes took of the machine is read around every burst: a disturbed one is
repeated while there is time, the least disturbed rounds are kept, and their share is part of the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STAT = Path("/proc/stat")
PAUSE_S = 0.06
FEWEST = 5
"""Rounds that are run whatever the time, so that an interval means something."""
ATTEMPTS = 3
"""Times a disturbed burst is run, at most."""
QUIET_SHARE = 0.03
"""Other processes' share of all cores up to which a round counts as quiet."""
RESAMPLES = 2000
CORES = os.cpu_count() or 1
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""What the machine's times are counted in."""

Clocked = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to race.

    Args:
        warm: Calls before each burst that are not timed.
        burst: Timed calls in a burst.
        rounds: Quiet rounds wanted.
        budget_s: Time after which no new round begins, whether enough were quiet or not; a few are always run.
    """

    warm: int
    burst: int
    rounds: int
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What came of one race.

    Args:
        calls_ms: Times by candidate, shape (rounds, burst).
        others: Largest share of the machine that other processes took during a kept round; None where the system does
            not say.
        rounds_run: Rounds run, of which the least disturbed were kept.
    """

    calls_ms: Mapping[str, NDArray[np.float64]]
    others: float | None
    rounds_run: int

    def summary(self, name: str) -> dict[str, float]:
        """Return median, 10th and 90th percentile and minimum of a candidate's calls."""
        calls = self.calls_ms[name]
        low, middle, high = np.quantile(calls, (0.1, 0.5, 0.9))
        return {"median_ms": middle, "p10_ms": low, "p90_ms": high, "min_ms": calls.min(), "calls": calls.size}

    def median(self, name: str) -> float:
        """Return the median time of a candidate's calls in ms."""
        return float(np.median(self.calls_ms[name]))

    def best(self, names: Sequence[str]) -> str:
        """Return which of `names` has the smallest median."""
        return min(names, key=self.median)

    def ratio(self, ours: str, peer: str) -> dict[str, float]:
        """Return the median over rounds of burst median over burst median, with a bootstrap 95 % interval.

        Rounds are resampled, since calls of one burst share whatever disturbed it.
        """
        first, second = (np.median(self.calls_ms[name], axis=1) for name in (ours, peer))
        each = first / second
        draws = np.random.default_rng(0).integers(0, len(each), (RESAMPLES, len(each)))
        low, high = np.quantile(np.median(each[draws], axis=1), (0.025, 0.975))
        return {"ratio": float(np.median(each)), "low": float(low), "high": float(high)}


def clocked(call: Callable[[], object]) -> Clocked:
    """Return what calls `call` and gives the milliseconds it took."""

    def timed() -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    return timed


def race(candidates: Mapping[str, Clocked], plan: Plan) -> Times:
    """Time `candidates` in turns.

    Args:
        candidates: What to call, by name; each returns how many milliseconds it took, as `clocked` does.
        plan: How often.

    Returns:
        The times of the `plan.rounds` least disturbed rounds.
    """
    for call in candidates.values():
        call()
    rounds: list[_Round] = []
    end = time.perf_counter() + plan.budget_s
    while len(rounds) < FEWEST or (_quiet(rounds) < plan.rounds and time.perf_counter() < end):
        rounds.append(_round(candidates, plan, end))
    kept = sorted(rounds, key=lambda each: each.others)[: plan.rounds]
    calls = {name: np.asarray([each.times[name] for each in kept]) for name in candidates}
    return Times(calls_ms=calls, others=kept[-1].others if STAT.exists() else None, rounds_run=len(rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    times: Mapping[str, list[float]]
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Burst:
    times: list[float]
    others_s: float
    machine_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usage:
    """Now, and the CPU seconds taken so far by this process with its ended children, and by the whole machine."""

    now_s: float
    own_s: float
    machine_s: float

    def others_since(self, early: _Usage) -> float:
        """Return the CPU seconds that other processes took since `early`."""
        return max(0.0, self.machine_s - early.machine_s - self.own_s + early.own_s)


def _round(candidates: Mapping[str, Clocked], plan: Plan, end: float) -> _Round:
    """Give each candidate a burst."""
    bursts = {name: _least_disturbed(call, plan, end) for name, call in candidates.items()}
    return _Round(
        times={name: burst.times for name, burst in bursts.items()},
        others=sum(burst.others_s for burst in bursts.values()) / sum(burst.machine_s for burst in bursts.values()),
    )


def _least_disturbed(call: Clocked, plan: Plan, end: float) -> _Burst:
    """Repeat a disturbed burst while there is time, a few times, and return the best."""
    found: list[_Burst] = []
    while len(found) < ATTEMPTS and (not found or time.perf_counter() < end):
        before = _usage()
        times = _burst(call, plan)
        after = _usage()
        machine_s = (after.now_s - before.now_s) * CORES
        found.append(_Burst(times=times, others_s=after.others_since(before), machine_s=machine_s))
        if found[-1].others_s <= QUIET_SHARE * machine_s + 2 * TICK_S:
            break
    return min(found, key=lambda burst: burst.others_s / burst.machine_s)


def _burst(call: Clocked, plan: Plan) -> list[float]:
    time.sleep(PAUSE_S)
    for _ in range(plan.warm):
        call()
    return [call() for _ in range(plan.burst)]


def _quiet(rounds: Sequence[_Round]) -> int:
    return sum(each.others <= QUIET_SHARE for each in rounds)


def _usage() -> _Usage:
    own = sum(os.times()[:4])
    if not STAT.exists():
        return _Usage(now_s=time.perf_counter(), own_s=own, machine_s=own)
    ticks = [int(field) for field in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return _Usage(now_s=time.perf_counter(), own_s=own, machine_s=(sum(ticks) - idle) * TICK_S)
