"""Each weight to its nearest level, the scales chosen by the squared error of the weights."""

from __future__ import annotations

from intact.compress.methods import Method, Problem, Rounded


def solve(problem: Problem) -> Rounded:
    """Round half to even; no weight moves by more than half a step within the grid's range.

    Source:
        Jacob et al. 2018, arXiv:1712.05877, section 2.1.
    """
    grid = problem.space.fit(problem.weights)
    scales = grid.column_scales(problem.weights.shape[1])
    return Rounded(levels=problem.masked(grid.nearest(problem.weights, scales)), grid=grid)


METHOD = Method(name="nearest", solve=solve)
