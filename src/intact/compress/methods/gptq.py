"""Columns in turn, each rounded to its nearest level after it took up the errors of those before it."""

from __future__ import annotations

from intact.compress.methods import Method, Problem, Rounded, nearest
from intact.compress.quadratic import factor, feed


def solve(problem: Problem) -> Rounded:
    """Round with feedback of errors through H; as `nearest` where nothing is known of the inputs.

    The grid is chosen before the first column, so that the order of the columns is free of the groups. Columns that
    the inputs never excite are rounded to nearest.

    Raises:
        DataError: H holds a NaN or an infinity.
        ModelError: H is far from positive semidefinite.

    Source:
        Frantar et al. 2022, arXiv:2210.17323.
    """
    if problem.gram is None:
        return nearest.solve(problem)
    found = factor(problem.gram)
    grid = problem.space.fit(problem.weights, found.importance)
    return Rounded(levels=feed(problem.weights, found, grid, problem.keep), grid=grid, note=found.note)


METHOD = Method(name="gptq", solve=solve, needs_inputs=True)
