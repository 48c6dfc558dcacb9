"""GPTQ, then coordinate descent and scales fitted to the levels, in turns; with a few restarts from grids nearby."""

from __future__ import annotations

from dataclasses import replace

from intact.compress.methods import Method, Problem, Rounded, best, gptq
from intact.compress.quadratic import Factor, damped, descend, factor, feed, refit
from intact.compress.space import Grid

DAMPING = 0.03
"""More than GPTQ's: what fits the calibration data closer is hurt more by inputs not among them."""
SHARES = (1.0, 0.95, 1.05)
"""Scales of the restarts as shares of the best so far."""
COARSE_SHARES = (0.93, 1.07)
"""The same where units are powers of two: enough to move every multiplier from 8 up by one."""
ROUNDS = 2


def solve(problem: Problem) -> Rounded:
    """Round where the damped output error is least that these steps find; never above where GPTQ starts them.

    As `gptq` without known inputs, which is `nearest`.

    Raises:
        DataError: H holds a NaN or an infinity.
        ModelError: H is far from positive semidefinite.

    Source:
        Behdin et al. 2023, arXiv:2309.01885, section 3, from the start of Frantar et al. 2022, arXiv:2210.17323. Scales
        as coordinates of the same descent: Zhang et al. 2024, arXiv:2403.07134.
    """
    if problem.gram is None:
        return gptq.solve(problem)
    found = factor(problem.gram, DAMPING)
    posed = replace(problem, gram=damped(problem.gram, found.damping))
    answer = _polished(posed, found, problem.space.fit(problem.weights, found.importance))
    for share in COARSE_SHARES if problem.space.power_of_two else SHARES:
        answer = best(posed, [answer, _polished(posed, found, problem.space.stretched(answer.grid, share))])
    return replace(answer, note=found.note)


def _polished(posed: Problem, found: Factor, grid: Grid) -> Rounded:
    """Feed errors forward on `grid`, then fit scales and levels to each other."""
    assert posed.gram is not None  # checked by the caller
    levels = feed(posed.weights, found, grid, posed.keep)
    for _ in range(ROUNDS):
        grid = refit(posed.weights, posed.gram, grid, levels, posed.space)
        levels = descend(posed.weights, posed.gram, grid, levels, posed.keep)
    return Rounded(levels=levels, grid=grid)


METHOD = Method(name="descent", solve=solve, needs_inputs=True)
