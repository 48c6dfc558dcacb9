"""What scores of labels say: the chances of the two best, and the energy.

A single row of few labels, what servers mostly see, is computed without arrays: for ten numbers they cost more than the
numbers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from intact.guard.check import Array

FEW: Final = 32


def best_two(logits: Array, heat: float) -> tuple[Array, Array]:
    """Return the largest and the second largest of softmax(logits / heat) in every row."""
    if len(logits) == 1 and logits.shape[1] <= FEW:
        values = logits[0].tolist()
        highest = max(values)
        values.remove(highest)
        share = 1 / heat
        try:
            second = math.exp((max(values) - highest) * share)
            total = 1.0 + sum([math.exp((value - highest) * share) for value in values])
        except (OverflowError, ValueError):  # not finite: the check for that says so
            return np.full(1, np.nan), np.full(1, np.nan)
        return np.asarray([1 / total]), np.asarray([second / total])
    ordered = np.partition(logits.astype(np.float64), logits.shape[1] - 2, axis=1)
    ordered = np.exp((ordered - ordered[:, -1:]) / heat)
    total = ordered.sum(axis=1)
    return ordered[:, -1] / total, ordered[:, -2] / total


def energy(logits: Array) -> Array:
    """Return -log sum exp of every row, float64."""
    if len(logits) == 1 and logits.shape[1] <= FEW:
        values = logits[0].tolist()
        highest = max(values)
        try:
            return np.asarray([-highest - math.log(sum([math.exp(value - highest) for value in values]))])
        except (OverflowError, ValueError):
            return np.full(1, np.nan)
    highest = logits.max(axis=1).astype(np.float64)
    return np.asarray(-highest - np.log(np.exp(logits - highest[:, None]).sum(axis=1)))
