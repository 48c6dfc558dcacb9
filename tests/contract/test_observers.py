"""Every observer found in the folder keeps the contract of `Observer`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress import observers
from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Range, observer
from intact.errors import UsageError
from intact.numbers import covering, dequantize, quantize

OBSERVERS = observers.observers()
GRIDS = (Grid(), Grid(power_of_two=True), Grid(levels=16))


def statistics(sample: np.ndarray) -> Statistics:
    none = np.zeros(0, np.float32)
    return Statistics(
        low=float(sample.min()),
        high=float(sample.max()),
        sample=sample.astype(np.float32),
        rows=np.zeros((0, 0), np.float32),
        channel_low=none,
        channel_high=none,
    )


def samples() -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e6, 1e6, width=32))


def squared_error(sample: np.ndarray, chosen: Range, grid: Grid) -> float:
    """An oracle: the error of the code that covers the range, by the number system's own functions."""
    bits = int(np.log2(grid.levels))
    affine = covering(chosen.low, chosen.high, bits=bits, power_of_two=grid.power_of_two, smallest_exponent=-100)
    return float(np.mean(np.square(dequantize(quantize(sample, affine)).astype(np.float64) - sample)))


def test_every_file_is_an_observer_of_its_name() -> None:
    files = {path.stem for path in Path(observers.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(OBSERVERS) == files
    assert all(OBSERVERS[name].name == name for name in files)


def test_an_unknown_observer_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'entropy'") as refused:
        observer("entropy")
    assert all(name in str(refused.value.hint) for name in OBSERVERS)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", OBSERVERS)
@settings(max_examples=60, deadline=None)
@given(sample=samples(), percentile=st.floats(0.51, 1.0))
def test_the_range_holds_zero_and_stays_within_what_was_seen(
    name: str, grid: Grid, sample: np.ndarray, percentile: float
) -> None:
    chosen = OBSERVERS[name].choose(statistics(sample), grid, percentile)
    assert chosen.low <= 0.0 <= chosen.high
    assert chosen.low >= min(0.0, float(sample.min()))
    assert chosen.high <= max(0.0, float(sample.max()))


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-40, 1e-30, 1e30, -1e30])
def test_constant_tensors_have_a_range(name: str, value: float) -> None:
    for grid in GRIDS:
        chosen = OBSERVERS[name].choose(statistics(np.full(9, value, np.float32)), grid, 0.99)
        assert np.isfinite([chosen.low, chosen.high]).all()


@pytest.mark.parametrize("name", OBSERVERS)
def test_the_same_statistics_give_the_same_range(name: str) -> None:
    seen = statistics(np.random.default_rng(0).standard_t(2, 5000).astype(np.float32))
    assert OBSERVERS[name].choose(seen, Grid(), 0.99) == OBSERVERS[name].choose(seen, Grid(), 0.99)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("tail", [1.2, 2.0, 5.0])
def test_mse_is_no_worse_than_minmax(tail: float, grid: Grid) -> None:
    sample = np.random.default_rng(0).standard_t(tail, 20_000).astype(np.float32)
    seen = statistics(sample)
    chosen, whole = (OBSERVERS[name].choose(seen, grid, 0.9999) for name in ("mse", "minmax"))
    assert squared_error(sample, chosen, grid) <= squared_error(sample, whole, grid) * (1 + 1e-6)


def test_mse_clips_a_lone_outlier_and_minmax_does_not() -> None:
    sample = np.append(np.random.default_rng(0).uniform(-1, 1, 100_000), 8.0).astype(np.float32)
    seen, grid = statistics(sample), Grid(levels=16)
    assert OBSERVERS["minmax"].choose(seen, grid, 1.0).high == 8.0
    assert OBSERVERS["mse"].choose(seen, grid, 1.0).high < 6.0


def test_a_percentile_keeps_its_share_on_either_side() -> None:
    sample = np.linspace(-1, 1, 10_001).astype(np.float32)
    chosen = OBSERVERS["percentile"].choose(statistics(sample), Grid(), 0.9)
    assert chosen.low == pytest.approx(-0.8, abs=1e-3)
    assert chosen.high == pytest.approx(0.8, abs=1e-3)


def test_a_percentile_of_one_is_the_whole_range() -> None:
    seen = statistics(np.random.default_rng(0).normal(size=999).astype(np.float32))
    whole = OBSERVERS["minmax"].choose(seen, Grid(), 1.0)
    assert OBSERVERS["percentile"].choose(seen, Grid(), 1.0) == whole
