"""Zero the weights whose loss the others can make good, and let the others do so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.patterns import Keep
from intact.compress.pruning import Pruned, Pruner, Sparsifying
from intact.compress.quadratic import damped, factor
from intact.errors import ModelError

Array = NDArray[Any]


def prune(problem: Sparsifying) -> Pruned:
    """Zero weights from left to right where that costs least, each loss moving the weights to its right.

    1. How many weights each run of columns loses is settled by w^2 / (H^-1)_jj over the whole layer.
    2. Run by run, the weights that cost least as they are by then go; the columns to the right are moved.
    3. The weights that stay take the values of least error for the H and the places found.

    H is damped; where it is singular beyond that, damping is raised and `note` says so.

    Source:
        Hassibi & Stork 1992 (optimal brain surgeon); Frantar & Alistarh 2023, arXiv:2301.00774, sections 3.2 and 3.3.
    """
    gram = np.eye(problem.weights.shape[1]) if problem.gram is None else problem.gram
    found = factor(gram)
    steady = damped(gram, found.damping)
    keep = _choose(problem, steady, _first_choice(problem, steady))
    return Pruned(weights=refit(problem.weights, steady, keep), keep=keep, note=found.note)


def _first_choice(problem: Sparsifying, gram: Array) -> Keep:
    """What would stay if each weight were the only one to go."""
    costs = np.square(problem.weights) / np.diag(np.linalg.inv(gram)).clip(np.finfo(np.float64).tiny)
    return problem.pattern.choose(costs, problem.share)


def _choose(problem: Sparsifying, gram: Array, example: Keep) -> Keep:
    """Settle the places run by run; each keeps as many weights as `example` does there.

    With H = U diag(pivots) U^T, U upper triangular with ones on its diagonal, the error of an output is the sum over
    columns of pivots[j] * (E U)[j]^2, which looks at the errors E of the columns up to j only.
    """
    upper = np.linalg.cholesky(gram[::-1, ::-1])[::-1, ::-1]
    pivots = np.square(np.diag(upper))
    upper = upper / np.diag(upper)
    keep = np.ones(problem.weights.shape, bool)
    errors = np.zeros(problem.weights.shape)
    columns, width = problem.weights.shape[1], problem.pattern.width
    for begin in range(0, columns, width):
        end = min(begin + width, columns)
        moved = problem.weights[:, begin:end] + errors[:, :begin] @ upper[:begin, begin:end]
        costs = np.square(moved) * pivots[begin:end]
        keep[:, begin:end] = problem.pattern.choose_like(costs, example[:, begin:end])
        for column in range(begin, end):
            wish = moved[:, column - begin] + errors[:, begin:column] @ upper[begin:column, column]
            errors[:, column] = problem.weights[:, column] - np.where(keep[:, column], wish, 0.0)
    return keep


def refit(weights: Array, gram: Array, keep: Keep) -> Array:
    """The weights of least tr((W - Q) H (W - Q)^T) among those that are zero wherever `keep` is false.

    Args:
        weights: W: float64, shape (rows, columns).
        gram: H: positive definite, shape (columns, columns).
        keep: bool, shape (rows, columns).

    Raises:
        ModelError: H is not positive definite.
    """
    wanted = weights @ gram
    answer = np.zeros_like(weights)
    for row, places in enumerate(keep):
        kept = np.flatnonzero(places)
        try:
            answer[row, kept] = np.linalg.solve(gram[np.ix_(kept, kept)], wanted[row, kept])
        except np.linalg.LinAlgError as error:
            raise ModelError(
                f"second moments of the {len(kept)} columns kept in row {row} are singular", hint="damp them first"
            ) from error
    return answer


PRUNER = Pruner(name="obs", prune=prune, needs_inputs=True)
