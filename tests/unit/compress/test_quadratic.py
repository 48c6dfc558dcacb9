"""Against independent oracles: brute force over every rounding, and GPTQ as its paper writes it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.quadratic import DAMPING, damped, descend, factor, feed, refit
from intact.compress.space import Grid, Space
from intact.errors import DataError, ModelError


def layer(
    seed: int, rows: int = 1, columns: int = 6, levels: int = 4, group: int = 0
) -> tuple[np.ndarray, np.ndarray, Grid, Space]:
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(40, columns)) @ draws.normal(size=(columns, columns))
    weights = draws.normal(size=(rows, columns))
    space = Space(
        levels=np.arange(-(levels // 2), (levels + 1) // 2), group=group, power_of_two=False, floor=np.zeros(rows)
    )
    return weights, x.T @ x / 40, space.fit(weights), space


def form(errors: np.ndarray, gram: np.ndarray) -> np.ndarray:
    return np.einsum("rk,kl,rl->r", errors, gram, errors)


def brute(weights: np.ndarray, gram: np.ndarray, grid: Grid) -> float:
    """The least error of all roundings of one row."""
    every = np.array(list(itertools.product(grid.levels, repeat=weights.shape[1])))
    return float(form(weights - every * grid.column_scales(weights.shape[1]), gram).min())


def paper(weights: np.ndarray, gram: np.ndarray, grid: Grid) -> np.ndarray:
    """Algorithm 1 of arXiv:2210.17323 for one block, by the Cholesky factor of the inverse."""
    order = np.argsort(-np.diag(gram), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(gram[np.ix_(order, order)])).T
    left, scales = weights[:, order].copy(), np.broadcast_to(grid.column_scales(len(gram)), weights.shape)[:, order]
    levels = np.zeros(weights.shape, np.int64)
    for j in range(len(gram)):
        levels[:, order[j]] = grid.nearest(left[:, j], scales[:, j])
        error = (left[:, j] - levels[:, order[j]] * scales[:, j]) / upper[j, j]
        left[:, j:] -= error[:, None] * upper[j, j:]
    return levels


@pytest.mark.parametrize("columns", [6, 47, 48, 49, 130])
@pytest.mark.parametrize("group", [0, 16])
def test_feeding_forward_gives_the_levels_of_the_papers_algorithm(columns: int, group: int) -> None:
    draws = np.random.default_rng(3)
    x = draws.normal(size=(4 * columns, columns)) @ draws.normal(size=(columns, columns))
    gram = damped(x.T @ x / len(x), DAMPING)
    weights = draws.normal(size=(5, columns))
    space = Space(levels=np.arange(-8, 8), group=group, power_of_two=False, floor=np.zeros(5))
    grid = space.fit(weights)
    np.testing.assert_array_equal(feed(weights, factor(gram, 0.0), grid), paper(weights, gram, grid))


@pytest.mark.parametrize("levels", [4, 8])
def test_near_the_best_of_all_roundings(levels: int) -> None:
    ratios, exact = [], 0
    for seed in range(20 if levels == 4 else 5):
        weights, gram, grid, _ = layer(seed, levels=levels)
        gram = damped(gram, DAMPING)
        least = brute(weights, gram, grid)
        start = feed(weights, factor(gram, 0.0), grid)
        found = float(form(weights - grid.decode(descend(weights, gram, grid, start, sweeps=20)), gram)[0])
        assert found >= least * (1 - 1e-9)
        exact += found <= least * (1 + 1e-9)
        ratios.append(found / least)
    assert exact >= len(ratios) / 3
    assert np.median(ratios) < 1.2


@pytest.mark.parametrize("columns", [4, 60])
def test_the_factor_is_the_damped_gram(columns: int) -> None:
    _, gram, _, _ = layer(0, columns=columns)
    found = factor(gram)
    rebuilt = found.feedback * found.pivots @ found.feedback.T
    np.testing.assert_allclose(rebuilt, damped(gram, DAMPING)[np.ix_(found.order, found.order)], rtol=1e-9, atol=1e-9)
    assert (np.diff(np.diag(gram)[found.order]) <= 0).all()
    np.testing.assert_array_equal(found.importance[found.order], found.pivots)
    assert found.note == ""
    assert not found.repaired


def test_more_damping_repairs_and_says_so() -> None:
    gram = np.eye(4) * 1.0
    gram[0, 1] = gram[1, 0] = 1.05
    found = factor(gram)
    assert found.repaired
    assert found.damping > DAMPING
    assert f"damping raised to {found.damping:g}" in found.note


def test_a_gram_beyond_repair_is_refused() -> None:
    with pytest.raises(ModelError, match="no damping up to 10"):
        factor(np.eye(3) - 100)
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or an infinity"):
            factor(np.full((2, 2), bad))


def test_no_moments_at_all_leave_the_columns_free_of_each_other() -> None:
    weights, _, grid, _ = layer(2, rows=3, columns=7)
    levels = feed(weights, factor(np.zeros((7, 7))), grid)
    np.testing.assert_array_equal(levels, grid.nearest(weights, grid.column_scales(7)))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), columns=st.integers(1, 70), group=st.sampled_from([0, 5, 16]), masked=st.booleans())
def test_descent_and_refit_never_raise_the_error(seed: int, columns: int, group: int, masked: bool) -> None:
    weights, gram, grid, space = layer(seed, rows=3, columns=columns, group=group)
    draws = np.random.default_rng(seed)
    keep = draws.random(weights.shape) < 0.5 if masked else None
    levels = draws.choice(grid.levels, size=weights.shape) * (True if keep is None else keep)
    before = form(weights - grid.decode(levels), gram)
    lower = descend(weights, gram, grid, levels, keep)
    middle = form(weights - grid.decode(lower), gram)
    assert (middle <= before * (1 + 1e-9) + 1e-12).all()
    assert keep is None or not lower[~keep].any()
    fitted = refit(weights, gram, grid, lower, space)
    assert (form(weights - fitted.decode(lower), gram) <= middle * (1 + 1e-9) + 1e-12).all()
    assert ((np.abs(fitted.multipliers) >= 1) & (np.abs(fitted.multipliers) <= space.most)).all()


def test_descent_ends_where_no_single_weight_can_do_better() -> None:
    weights, gram, grid, _ = layer(7, rows=2, columns=9)
    found = descend(weights, gram, grid, np.zeros((2, 9), np.int64), sweeps=100)
    least = form(weights - grid.decode(found), gram)
    for column, level in itertools.product(range(9), grid.levels):
        other = found.copy()
        other[:, column] = level
        assert (form(weights - grid.decode(other), gram) >= least - 1e-12).all()


def test_a_refitted_unit_is_the_best_there_is() -> None:
    weights, gram, grid, space = layer(5, columns=12)
    levels = grid.nearest(weights, grid.column_scales(12))
    fitted = refit(weights, gram, grid, levels, space)
    found = form(weights - fitted.decode(levels), gram)
    for share in np.linspace(0.5, 1.5, 101):
        assert form(weights - fitted.decode(levels) * share, gram) >= found - 1e-12
