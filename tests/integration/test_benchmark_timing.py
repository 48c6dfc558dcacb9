"""The benchmarks' stopwatch: what a race keeps, and what its ratios say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "timing.py"


@pytest.fixture(scope="module")
def timing() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_timing", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_ratio_is_that_of_the_medians_of_each_round_and_drift_cancels(timing: ModuleType) -> None:
    drift = np.linspace(1, 5, 20)[:, None]
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (2, 20, 5))
    times = timing.Times(calls_ms={"a": 2 * drift * noise[0], "b": drift * noise[1]}, others=0.0, rounds_run=20)
    found = times.ratio("a", "b")
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["high"] - found["low"] < 0.05
    assert found["ratio"] == pytest.approx(2, abs=0.03)
    assert times.best(["a", "b"]) == "b"


def test_a_race_calls_every_candidate_as_planned(timing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE_S", 0.0)
    monkeypatch.setattr(timing, "STAT", Path("nowhere"))  # a system that does not say what others take
    calls: list[str] = []

    def candidate(name: str, ms: float) -> float:
        calls.append(name)
        return ms

    plan = timing.Plan(warm=1, burst=3, rounds=6, budget_s=60)
    times = timing.race({"a": lambda: candidate("a", 2.0), "b": lambda: candidate("b", 1.0)}, plan)
    assert calls[:2] == ["a", "b"]
    assert calls[2:] == (["a"] * 4 + ["b"] * 4) * 6
    assert times.calls_ms["a"].shape == (6, 3)
    assert times.others is None
    assert times.ratio("a", "b")["ratio"] == 2.0


def test_a_disturbed_burst_is_repeated_and_the_least_disturbed_is_kept(
    timing: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "PAUSE_S", 0.0)
    machine = iter([0.0, 5.0, 5.0, 9.0, 9.0, 9.9])  # other processes take 5, 4 and 0.9 of 10 core seconds
    clock = iter(range(0, 600, 5))
    monkeypatch.setattr(timing, "CORES", 2)
    monkeypatch.setattr(
        timing, "_usage", lambda: timing._Usage(now_s=float(next(clock)), own_s=0.0, machine_s=next(machine))
    )
    times = iter([3.0, 2.0, 1.0])
    found = timing._least_disturbed(lambda: next(times), timing.Plan(warm=0, burst=1, rounds=1, budget_s=1), 1e12)
    assert found.times == [1.0]
    assert found.others_s == pytest.approx(0.9)
