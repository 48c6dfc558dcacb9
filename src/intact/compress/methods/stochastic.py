"""Each weight up or down at random, so that its expected code is the weight itself."""

from __future__ import annotations

from intact.compress.methods import Method, Problem
from intact.numbers import Codes, Rounding, quantize


def solve(problem: Problem) -> Codes:
    """Round with draws from the problem's generator: the same seed gives the same codes.

    Source:
        Gupta et al. 2015, arXiv:1502.02551, section 3.
    """
    return quantize(problem.weights, problem.encoding, Rounding.STOCHASTIC, problem.generator)


METHOD = Method(name="stochastic", solve=solve)
