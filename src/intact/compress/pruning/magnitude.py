"""Zero the weights of least magnitude."""

from __future__ import annotations

import numpy as np

from intact.compress.pruning import Pruned, Pruner, Sparsifying


def prune(problem: Sparsifying) -> Pruned:
    """Zero where |w| is least; the rest stays as it is.

    Source:
        Han et al. 2015, arXiv:1506.02626, section 3; squared, so that a block counts by its energy.
    """
    keep = problem.pattern.choose(np.square(problem.weights), problem.share)
    return Pruned(weights=np.where(keep, problem.weights, 0.0), keep=keep)


PRUNER = Pruner(name="magnitude", prune=prune)
