from __future__ import annotations

import itertools

import numpy as np

from intact.compress.methods import Problem, adaround, nearest, output_error
from intact.compress.space import Space


def posed(seed: int, rows: int, columns: int, bits: int) -> Problem:
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(50, columns)) @ draws.normal(size=(columns, columns))
    half = 2 ** (bits - 1)
    space = Space(levels=np.arange(-half, half), group=0, power_of_two=False, floor=np.zeros(rows))
    return Problem(weights=draws.normal(size=(rows, columns)), gram=x.T @ x / 50, space=space, generator=draws)


def best_of_up_and_down(problem: Problem) -> np.ndarray:
    """Brute force over the two levels around each weight, on the grid that the method rounds on."""
    grid = problem.space.fit(problem.weights, problem.importance)
    steps = np.clip(problem.weights / grid.scale, grid.levels[0], grid.levels[-1])
    ups = np.array(list(itertools.product([0, 1], repeat=problem.weights.shape[1])))
    least = []
    for row, scale in zip(range(len(steps)), grid.scale, strict=True):
        every = np.clip(np.floor(steps[row]) + ups, grid.levels[0], grid.levels[-1])
        errors = problem.weights[row] - every * scale
        least.append(np.einsum("rk,kl,rl->r", errors, problem.gram, errors).min())
    return np.array(least)


def test_near_the_best_of_all_ups_and_downs() -> None:
    problem = posed(0, 24, 8, 3)
    found, least = output_error(problem, adaround.solve(problem)), best_of_up_and_down(problem)
    plain = output_error(problem, nearest.solve(problem))
    assert np.median(found / least) < 1.3
    assert found.sum() < plain.sum() * 0.75


def test_a_larger_layer_has_far_less_error_than_nearest() -> None:
    problem = posed(1, 16, 64, 4)
    found, plain = (output_error(problem, way.solve(problem)).sum() for way in (adaround, nearest))
    assert found < plain / 2
