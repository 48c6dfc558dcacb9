"""How far two models' outputs are apart, in one number that adds up over small changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Outputs = Mapping[str, Array]

LEAST = 1e-12
"""Below this a probability counts as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far outputs are from the float model's.

    Args:
        error: Mean Kullback-Leibler divergence of the class probabilities where the model has one output that is rows
            of scores; else the squared distance over the squared length, on average over the outputs.
        same: Share of rows with the same greatest score; None where the outputs are no rows of scores.
    """

    error: float
    same: float | None


def distance(wanted: Sequence[Outputs], given: Sequence[Outputs]) -> Distance:
    """Compare outputs piece by piece, the float model's first; a piece maps names to arrays."""
    names = list(wanted[0])
    pairs = {name: [(a[name], b[name]) for a, b in zip(wanted, given, strict=True)] for name in names}
    scores = len(names) == 1 and all(a.ndim == 2 and a.shape[1] > 1 for a, _ in pairs[names[0]])
    if not scores:
        return Distance(error=float(np.mean([_relative(pairs[name]) for name in names])), same=None)
    a, b = (np.concatenate([pair[index] for pair in pairs[names[0]]]).astype(np.float64) for index in (0, 1))
    return Distance(error=_divergence(a, b), same=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()))


def _relative(pairs: Sequence[tuple[Array, Array]]) -> float:
    apart = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs)
    length = sum(float(np.square(a.astype(np.float64)).sum()) for a, _ in pairs)
    return apart / length if length else apart


def _divergence(wanted: Array, given: Array) -> float:
    """Mean of KL(wanted || given) over rows, of scores before or after the softmax."""
    already = bool((wanted >= 0).all() and np.allclose(wanted.sum(axis=1), 1.0, atol=1e-3))
    logs = [np.log(np.maximum(rows, LEAST)) if already else _log_softmax(rows) for rows in (wanted, given)]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=1).mean())


def _log_softmax(rows: Array) -> Array:
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
