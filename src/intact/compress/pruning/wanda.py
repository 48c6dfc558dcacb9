"""Zero the weights of least magnitude times the size of what they are multiplied with."""

from __future__ import annotations

import numpy as np

from intact.compress.pruning import Pruned, Pruner, Sparsifying


def prune(problem: Sparsifying) -> Pruned:
    """Zero where |w_rj| * ||x_j|| is least; the rest stays as it is.

    The paper lets weights compete within a row: pattern "rows".

    Source:
        Sun et al. 2023, arXiv:2306.11695, section 3; squared, so that a block counts by its energy.
    """
    keep = problem.pattern.choose(np.square(problem.weights) * problem.importance, problem.share)
    return Pruned(weights=np.where(keep, problem.weights, 0.0), keep=keep)


PRUNER = Pruner(name="wanda", prune=prune, needs_inputs=True)
