"""A threshold that good rows go beyond at most so often, whatever their distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from intact.guard.check import Array

LEAST: Final = 1e-200
"""No threshold above 0 is smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold and what it promises.

    Args:
        value: Scores above it are strange.
        fpr: The probability that one more row like those it was learned from scores above it, at most.
    """

    value: float
    fpr: float


def threshold(scores: Array, fpr: float) -> Threshold | None:
    """Return the threshold for a false-positive rate, from scores of rows that nothing else was learned from.

    It is the k-th smallest of n scores, with k the least such that 1 - k / (n + 1) <= fpr; the largest where rows are
    too few for that rate, which `Threshold.fpr` then says. It is rounded up to three digits: no record's score can be
    read from it.

    Returns:
        The threshold; None without scores, or where that one is not finite.

    Source:
        Vovk, Gammerman, Shafer 2005, section 4.2 (split conformal prediction): holds for every distribution, on
        average over the draw of the rows, where rows are exchangeable.
    """
    count = len(scores)
    if not count:
        return None
    rank = min(count, math.ceil((count + 1) * (1 - fpr) - 1e-9))
    value = float(np.sort(scores)[rank - 1])
    if not math.isfinite(value):
        return None
    return Threshold(value=_up(value), fpr=round(1 - rank / (count + 1), 6))


def _up(value: float) -> float:
    """Return the next number of three digits that is not below `value`."""
    if abs(value) < LEAST:
        return LEAST if value > 0.0 else 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    found = float(f"{math.ceil(value / unit - 1e-9) * unit:.6g}")
    return found if found >= value else float(f"{found + unit:.6g}")
