"""Each weight to its nearest code."""

from __future__ import annotations

from intact.compress.methods import Method, Problem
from intact.numbers import Codes, quantize


def solve(problem: Problem) -> Codes:
    """Round half to even; no weight moves by more than half a step within the code's range.

    Source:
        Jacob et al. 2018, arXiv:1712.05877, section 2.1.
    """
    return quantize(problem.weights, problem.encoding)


METHOD = Method(name="nearest", solve=solve)
