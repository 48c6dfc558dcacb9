from __future__ import annotations

import numpy as np

from intact.compress.methods import Problem, Rounded, nearest, stochastic
from intact.compress.space import Space


def solved(weights: np.ndarray, seed: int = 0) -> Rounded:
    space = Space(levels=np.arange(-127, 128), group=0, power_of_two=False, floor=np.zeros(len(weights)))
    return stochastic.solve(Problem(weights=weights, gram=None, space=space, generator=np.random.default_rng(seed)))


def test_values_are_the_weights_on_average() -> None:
    weights = np.random.default_rng(1).uniform(-1, 1, size=(8, 40))
    draws = 4000
    answer = solved(np.tile(weights, (1, draws)))
    inside = np.abs(weights) <= 127 * answer.grid.scale
    mean = answer.values.reshape(8, draws, 40).mean(axis=1)
    # a draw is off by less than a step, its variance at most a quarter: five standard errors
    np.testing.assert_allclose(mean[inside], weights[inside], atol=5 * 0.5 * answer.grid.scale.max() / np.sqrt(draws))
    assert inside.mean() > 0.9


def test_other_seeds_give_other_levels() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 33))
    assert (solved(weights, 1).levels != solved(weights, 2).levels).any()


def test_no_weight_in_range_moves_by_a_step() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 33))
    answer = solved(weights)
    inside = np.abs(weights) <= 127 * answer.grid.scale
    assert (np.abs(answer.values - weights) < answer.grid.scale)[inside].all()


def test_nearest_takes_ties_to_even() -> None:
    weights = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 127.0]])
    space = Space(levels=np.arange(-127, 128), group=0, power_of_two=True, floor=np.ones(1))
    posed = Problem(weights=weights, gram=None, space=space, generator=np.random.default_rng(0))
    assert nearest.solve(posed).levels.tolist() == [[-2, -2, 0, 0, 2, 2, 127]]
