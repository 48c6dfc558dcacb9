"""Each weight to its nearest level, the scales chosen by the error of the layer's output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intact.compress.methods import Array, Method, Problem, Rounded, best, nearest
from intact.compress.space import Grid

SHARES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1)
"""Scales tried for a whole row, as shares of those of least squared error of the weights."""
STEPS = (-3, -2, -1, 1, 2, 3)
"""Multipliers tried for one group, from the one it has."""


def solve(problem: Problem) -> Rounded:
    """Round to nearest on the grid whose output error, taken with all of H, is least of those tried.

    Never a greater output error than that of `nearest`, which it is where nothing is known of the inputs.

    Source:
        Nagel et al. 2021, arXiv:2106.08295, section 3.1, with the layer's output in the place of its weights.
    """
    start = nearest.solve(problem)
    if problem.gram is None:
        return start
    grids = [problem.space.fit(problem.weights, problem.importance)]
    grids += [problem.space.stretched(start.grid, share) for share in SHARES]
    found = best(problem, [start, *(_rounded(problem, grid) for grid in grids)])
    for index in range(found.grid.multipliers.shape[1] if found.grid.multipliers.shape[1] > 1 else 0):
        found = _group_refined(problem, problem.gram, found, index)
    return found


def _rounded(problem: Problem, grid: Grid) -> Rounded:
    levels = grid.nearest(problem.weights, grid.column_scales(problem.weights.shape[1]))
    return Rounded(levels=problem.masked(levels), grid=grid)


def _group_refined(problem: Problem, gram: Array, found: Rounded, index: int) -> Rounded:
    """Give one group the multiplier of least output error, the other groups as they are."""
    part = slice(index * found.grid.group, (index + 1) * found.grid.group)
    weights, grid = problem.weights[:, part], found.grid
    keep = True if problem.keep is None else problem.keep[:, part]
    errors = problem.weights - found.values
    near = gram[part, part]
    pull = errors @ gram[:, part] - errors[:, part] @ near  # what the other groups add

    def tried(multiplier: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
        scale = (grid.unit * multiplier)[:, None]
        levels = np.where(keep, grid.nearest(weights, scale), 0)
        error = weights - levels * scale
        return np.einsum("rk,rk->r", error @ near + 2 * pull, error), levels

    was = grid.multipliers[:, index]
    sizes = [np.clip(np.abs(was) + step, 1, problem.space.most) for step in (0, *STEPS)]
    options = [(np.sign(was) * size).astype(np.int64) for size in sizes]
    answers = [tried(option) for option in options]
    chosen, rows = np.stack([error for error, _ in answers]).argmin(axis=0), np.arange(len(weights))
    levels, multipliers = found.levels.copy(), grid.multipliers.copy()
    levels[:, part] = np.stack([level for _, level in answers])[chosen, rows]
    multipliers[:, index] = np.stack(options)[chosen, rows]
    return Rounded(levels=levels, grid=replace(grid, multipliers=multipliers))


METHOD = Method(name="output", solve=solve, needs_inputs=True)
