from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress.space import LARGEST, Grid, Space, nearest_level

SETS = [[-1, 0, 1], [-2, -1, 0, 1], [-8, *range(-7, 8)], list(range(-127, 128)), [-21, -11, -4, 0, 3, 9, 21], [0, 127]]


def space(levels: list[int], rows: int, group: int = 0, power_of_two: bool = False, floor: float = 0.0) -> Space:
    return Space(levels=np.asarray(levels), group=group, power_of_two=power_of_two, floor=np.full(rows, floor))


def squared(weights: np.ndarray, grid: Grid) -> np.ndarray:
    levels = grid.nearest(weights, grid.column_scales(weights.shape[1]))
    return np.square(weights - grid.decode(levels)).sum(axis=1)


matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(
    steps=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-300, 300)),
    levels=st.sets(st.integers(-127, 127), min_size=1).map(lambda each: np.array(sorted(each | {0}))),
)
def test_nearest_level_is_a_level_and_none_is_nearer(steps: np.ndarray, levels: np.ndarray) -> None:
    found = nearest_level(steps, levels)
    assert np.isin(found, levels).all()
    np.testing.assert_array_equal(np.abs(found - steps), np.abs(steps[:, None] - levels).min(axis=1))


def test_ties_between_neighbours_go_to_even() -> None:
    found = nearest_level(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), np.arange(-127, 128))
    assert found.tolist() == [-2, -2, 0, 0, 2, 2]


@settings(deadline=None, max_examples=200)
@given(
    weights=matrices,
    levels=st.sampled_from(SETS),
    group=st.integers(0, 5),
    power_of_two=st.booleans(),
    floor=st.sampled_from([0.0, 0.01, 3.0]),
)
def test_a_grid_keeps_the_limits_of_its_space(
    weights: np.ndarray, levels: list[int], group: int, power_of_two: bool, floor: float
) -> None:
    asked = space(levels, len(weights), group, power_of_two, floor)
    grid = asked.fit(weights.astype(np.float64))
    sizes = np.abs(grid.multipliers)
    assert grid.multipliers.shape == (len(weights), -(-weights.shape[1] // (group or weights.shape[1])))
    assert ((sizes >= 1) & (sizes <= asked.most)).all()
    assert sizes.max() * np.abs(grid.levels).max() <= LARGEST
    assert (grid.unit >= max(floor, 2.0**-80)).all()
    if power_of_two:
        assert (np.frexp(grid.unit)[0] == 0.5).all()
    if asked.signs == (1,):
        assert (grid.multipliers > 0).all()


@pytest.mark.parametrize(("number", "group"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 32), (1, 32), (2, 32)])
def test_fit_is_close_to_the_best_of_a_dense_search(number: int, group: int) -> None:
    levels = SETS[number]
    weights = np.random.default_rng(0).standard_t(4, size=(6, 96))
    found = squared(weights, space(levels, 6, group).fit(weights))
    least = np.zeros(6)
    for start in range(0, 96, group or 96):
        part = weights[:, start : start + (group or 96)]
        top = np.abs(part).max(axis=1, keepdims=True) / max(map(abs, levels))
        scales = [top * share for share in np.linspace(-1.1, 1.1, 400)]
        errors = [part - nearest_level(part / scale, np.asarray(levels)) * scale for scale in scales]
        least += np.min([np.square(error).sum(axis=1) for error in errors], axis=0)
    assert (found >= least * 0.98).all()
    assert found.sum() <= least.sum() * 1.1


def test_importance_moves_the_grid_towards_the_columns_that_count() -> None:
    weights = np.array([[0.3, -0.21, 0.12, 0.07, 0.5]])
    asked = space(list(range(-7, 8)), 1)
    counts = np.array([1.0, 1.0, 1.0, 1.0, 1e-9])
    plain, weighed = asked.fit(weights), asked.fit(weights, counts)

    def error(grid: Grid) -> float:
        rounded = grid.decode(grid.nearest(weights, grid.column_scales(5)))
        return float(np.square(weights - rounded)[0] @ counts)

    assert error(weighed) < error(plain) / 2


@pytest.mark.parametrize("levels", [[-2, -1, 0, 1], [-8, *range(-7, 8)]])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_each_group_picks_the_side_of_the_extra_level(levels: list[int], power_of_two: bool) -> None:
    top = -levels[0]
    weights = np.array([[-top, 1, 0, 1, top, -1, 0, -1]], np.float64)
    grid = space(levels, 1, 4, power_of_two).fit(weights)
    assert np.sign(grid.multipliers).tolist() == [[1, -1]]
    np.testing.assert_allclose(grid.decode(grid.nearest(weights, grid.column_scales(8))), weights)


@settings(deadline=None)
@given(weights=matrices, share=st.floats(0.5, 2.0), power_of_two=st.booleans(), floor=st.sampled_from([0.0, 1.0]))
def test_a_stretched_grid_stays_in_the_space(
    weights: np.ndarray, share: float, power_of_two: bool, floor: float
) -> None:
    asked = space([-8, *range(-7, 8)], len(weights), 3, power_of_two, floor)
    grid = asked.fit(weights.astype(np.float64))
    stretched = asked.stretched(grid, share)
    assert (stretched.unit >= asked.least_unit).all()
    assert ((np.abs(stretched.multipliers) >= 1) & (np.abs(stretched.multipliers) <= asked.most)).all()
    np.testing.assert_array_equal(np.sign(stretched.multipliers), np.sign(grid.multipliers))
    if power_of_two:
        np.testing.assert_array_equal(stretched.unit, grid.unit)


def test_near_takes_the_wanted_scales_where_they_exist() -> None:
    wanted = np.array([[15, 6], [-15, 3], [15, -15]]) * 0.01
    codes = np.random.default_rng(0).permuted(np.tile(np.arange(-8, 8, 2), (6, 1)), axis=1).reshape(3, 16)
    weights = codes * np.repeat(wanted, 8, axis=1)
    grid = space([-8, *range(-7, 8)], 3, 8).near(weights, wanted)
    np.testing.assert_allclose(grid.scale, wanted)


def test_integers_are_levels_times_multipliers_also_in_a_shorter_last_group() -> None:
    grid = Grid(levels=np.arange(-8, 8), unit=np.array([0.5]), multipliers=np.array([[3, -15]]), group=3)
    levels = np.array([[1, -8, 7, 2, -8]])
    assert grid.integers(levels).tolist() == [[3, -24, 21, -30, 120]]
    assert grid.integers(levels).dtype == np.int8
    assert grid.decode(levels).tolist() == [[1.5, -12.0, 10.5, -15.0, 60.0]]
