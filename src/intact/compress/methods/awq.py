"""Each weight to its nearest level, each group clipped where its own share of the output errs least."""

from __future__ import annotations

import numpy as np

from intact.compress.methods import Array, Method, Problem, Rounded, nearest
from intact.compress.space import nearest_level

SHARES = np.linspace(1.0, 0.4, 21)
"""Clipped ranges tried, as shares of the group's largest weight."""


def solve(problem: Problem) -> Rounded:
    """Choose each group's range by the error of what that group alone adds to the output, and round to nearest.

    The clip search of activation-aware quantization; its scaling of input channels is not the grid's to have, and is
    done to the graph before. As `nearest` where nothing is known of the inputs.

    Source:
        Lin et al. 2023, arXiv:2306.00978, section 3.2 and its released search of clipped weights.
    """
    if problem.gram is None:
        return nearest.solve(problem)
    space, weights = problem.space, problem.weights
    group = space.group or weights.shape[1]
    parts = [slice(start, start + group) for start in range(0, weights.shape[1], group)]
    gram = problem.gram
    wanted = np.stack([_range(weights[:, part], gram[part, part], problem) for part in parts], axis=1)
    grid = space.near(weights, wanted, problem.importance)
    return Rounded(levels=problem.masked(grid.nearest(weights, grid.column_scales(weights.shape[1]))), grid=grid)


def _range(weights: Array, near: Array, problem: Problem) -> Array:
    """The scale of one group in each row, negative where the levels fit better so: shape (rows,)."""
    levels = problem.space.levels
    top = np.maximum(np.abs(weights).max(axis=1), 1e-30) / np.abs(levels).max()
    scales = np.stack([top * share * sign for sign in problem.space.signs for share in SHARES])
    errors = []
    for scale in scales:
        steps = weights / scale[:, None]
        error = (steps - nearest_level(steps, levels)) * scale[:, None]
        errors.append(np.einsum("rk,rk->r", error @ near, error))
    return np.asarray(scales[np.stack(errors).argmin(axis=0), np.arange(len(weights))])


METHOD = Method(name="awq", solve=solve, needs_inputs=True)
