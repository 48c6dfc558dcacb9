"""Which groups of a matrix were multiplied by a negative number.

Where a set of levels is not symmetric, as -8 to 7 is not, a group may have a negative multiplier, so that it gets 8.
Seen without the sign, both halves of the groups together have about twice as many values as there are levels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage.indices import MAX_VALUES, census

Matrix = NDArray[Any]

ROUNDS: Final = 2
"""Times that groups are compared with what the others have become."""
GRAIN: Final = 64
"""Likelihoods are counted in parts of a bit."""


def anchor(matrix: Matrix, group: int) -> int | None:
    """Return a value that, with its opposite, occurs most often without ever sharing a group with it.

    Args:
        matrix: int8; a sample is enough.
        group: Columns of a group.
    """
    counts = census(matrix.view(np.uint8))
    both = np.minimum(counts[1:128], counts[:128:-1])  # of 1, 2, ... with those of -1, -2, ...
    for value in (1 + np.argsort(-both, kind="stable")).tolist():
        if not both[value - 1]:
            return None
        if not (_holds(matrix, group, value) & _holds(matrix, group, -value)).any():
            return int(value)
    return None


def flips(matrix: Matrix, group: int, value: int) -> NDArray[np.bool_]:
    """Return which groups to negate, so that the matrix has as few distinct values as can be: bool, (rows, groups).

    Args:
        matrix: int8.
        group: Columns of a group.
        value: The anchor: where it is, a group is negated; where its opposite is, it is not.
    """
    negated, certain = _holds(matrix, group, value), _holds(matrix, group, -value)
    known = negated | certain
    for _ in range(ROUNDS):
        counts = np.zeros(MAX_VALUES, np.int64)
        for sign, chosen in ((1, known & ~negated), (-1, known & negated)):
            counts += _counts(matrix, group, chosen, sign)
        likely = (GRAIN * np.log2(counts + 0.25)).astype(np.int16)
        forward = _sums(likely[matrix.view(np.uint8)], group)
        backward = _sums(likely[(-matrix).view(np.uint8)], group)
        negated, known = backward > forward, np.ones_like(known)
    return negated


def _counts(matrix: Matrix, group: int, chosen: NDArray[np.bool_], sign: int) -> NDArray[np.int64]:
    """Return how often each byte occurs in the chosen groups of `matrix` times `sign`."""
    columns = matrix.shape[1]
    mask = np.repeat(chosen, group, axis=1)[:, :columns]
    return census((matrix[mask] * np.int8(sign)).view(np.uint8))


def _holds(matrix: Matrix, group: int, value: int) -> NDArray[np.bool_]:
    """Return which groups hold `value`."""
    return np.asarray(np.logical_or.reduceat(matrix == value, _starts(matrix, group), axis=1))


def _sums(scores: NDArray[np.int16], group: int) -> NDArray[np.int64]:
    return np.asarray(np.add.reduceat(scores, _starts(scores, group), axis=1, dtype=np.int64))


def _starts(matrix: Matrix, group: int) -> NDArray[np.int64]:
    return np.arange(0, matrix.shape[1], group)
