"""Several ways tried, and for each row the one of least output error kept."""

from __future__ import annotations

from intact.compress.methods import Method, Problem, Rounded, best, descent, hqq, nearest, output


def solve(problem: Problem) -> Rounded:
    """Try `nearest`, `hqq`, `output` and `descent` (which begins as `gptq` does); the first two without known inputs.

    No row has a greater output error than with any of them.
    """
    tried = [nearest, hqq] if problem.gram is None else [nearest, hqq, output, descent]
    return best(problem, [way.solve(problem) for way in tried])


METHOD = Method(name="auto", solve=solve, needs_inputs=True)
