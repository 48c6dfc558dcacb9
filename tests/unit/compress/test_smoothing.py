"""Outlier channels move into the weights and leave the product as it was."""

from __future__ import annotations

import numpy as np
import pytest

from intact.compress.calibrate import Statistics
from intact.compress.smoothing import STRENGTHS, smooth

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(256, 16)).astype(np.float32) * np.array([50.0] + [1.0] * 15, np.float32)
WEIGHTS = RNG.normal(size=(8, 16)).astype(np.float32)


def statistics(rows: np.ndarray) -> Statistics:
    return Statistics(
        low=float(rows.min()),
        high=float(rows.max()),
        sample=rows.reshape(-1),
        rows=rows,
        channel_low=rows.min(axis=0),
        channel_high=rows.max(axis=0),
    )


def test_the_product_stays_and_the_outlier_shrinks() -> None:
    found = smooth(statistics(ROWS), WEIGHTS, "auto")
    assert found is not None
    np.testing.assert_allclose(
        (ROWS / found.divisor) @ (WEIGHTS * found.divisor).T, ROWS @ WEIGHTS.T, rtol=2e-3, atol=1e-3
    )
    reach = np.abs(ROWS / found.divisor).max(axis=0)
    assert reach.max() / reach.mean() < np.abs(ROWS).max() / np.abs(ROWS).max(axis=0).mean() / 2
    assert found.seen.low <= 0 <= found.seen.high


def test_auto_takes_one_of_the_strengths() -> None:
    chosen = smooth(statistics(ROWS), WEIGHTS, "auto")
    fixed = [smooth(statistics(ROWS), WEIGHTS, strength) for strength in STRENGTHS]
    assert chosen is not None
    assert any(one is not None and np.array_equal(one.divisor, chosen.divisor) for one in fixed)


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_divisors_follow_the_formula(strength: float) -> None:
    found = smooth(statistics(ROWS), WEIGHTS, strength)
    assert found is not None
    wanted = np.abs(ROWS).max(axis=0) ** strength / np.abs(WEIGHTS).max(axis=0) ** (1 - strength)
    np.testing.assert_allclose(found.divisor, wanted / np.exp(np.log(wanted).mean()), rtol=1e-4)


def test_off_is_off_and_so_are_inputs_without_fixed_channels() -> None:
    assert smooth(statistics(ROWS), WEIGHTS, 0.0) is None
    assert smooth(statistics(ROWS[:, :4]), WEIGHTS, "auto") is None


def test_dead_channels_have_finite_divisors() -> None:
    rows, weights = ROWS.copy(), WEIGHTS.copy()
    rows[:, 3], weights[:, 5] = 0.0, 0.0
    found = smooth(statistics(rows), weights, "auto")
    assert found is not None
    assert np.isfinite(found.divisor).all()
    assert (found.divisor > 0).all()
