"""Each weight up or down at random, so that its expected level is the weight itself."""

from __future__ import annotations

import numpy as np

from intact.compress.methods import Method, Problem, Rounded


def solve(problem: Problem) -> Rounded:
    """Round with draws from the problem's generator: the same seed gives the same levels.

    Between the two levels around a weight, the chance of either is the nearness to it.

    Source:
        Gupta et al. 2015, arXiv:1502.02551, section 3.
    """
    grid = problem.space.fit(problem.weights)
    levels = grid.levels
    steps = problem.weights / grid.column_scales(problem.weights.shape[1])
    steps = np.clip(steps, levels[0], levels[-1])
    above = np.clip(np.searchsorted(levels, steps, side="left"), 1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    up = problem.generator.random(steps.shape) < (steps - low) / (high - low)
    return Rounded(levels=problem.masked(np.where(up, high, low)), grid=grid)


METHOD = Method(name="stochastic", solve=solve)
