"""Where values usually lie, column by column, on grids so coarse and so widened that no record can be read from them.

A column has a grid of its own, of about 32 steps, each a power of two. A bound is a line of that grid: at least
`SHARED` records lie at or beyond it, so whose value it was nobody can tell, and then it is moved outwards by one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from intact.guard.arrays import fields, pack_codes, refusal, unpack_codes
from intact.guard.check import Array, Evidence, Params, Score

BLOCKS: Final = 1024
"""Features told apart; of more, neighbours share their bounds."""
FEW: Final = 8
STEPS: Final = 32
SHARED: Final = 5
"""Records that lie at or beyond every bound before it is moved outwards."""
EXPONENTS: Final = 100
"""Steps are 2^-100 to 2^100."""
CODES: Final = 32000


def extremes(values: Iterable[tuple[Array, int]], count: int) -> Array:
    """Return columns of values, (rows, columns) float32: of many features, the least and greatest of neighbours.

    Args:
        values: Arrays of `count` rows, each with the most columns to tell apart: 1 for all features together.
        count: Rows.
    """
    found: list[Array] = []
    for value, most in values:
        flat = value.reshape(count, -1)
        if flat.shape[1] <= most:
            found.append(flat)
            continue
        if most == 1:
            reduce = (np.minimum.reduce, np.maximum.reduce)
            found += [each(flat, axis=1, keepdims=True) for each in reduce]
            continue
        starts = np.arange(0, flat.shape[1], -(-flat.shape[1] // most))
        found += [np.minimum.reduceat(flat, starts, axis=1), np.maximum.reduceat(flat, starts, axis=1)]
    if len(found) == 1:
        return found[0].astype(np.float32, copy=False)
    if count == 1 and all(each.size == 1 for each in found):
        return np.asarray([[float(each[0, 0]) for each in found]], np.float32)
    return np.concatenate(found, axis=1, dtype=np.float32, casting="unsafe")


def learn(evidence: Evidence) -> Params | None:
    """Return the bounds of every column; None of fewer than four times `SHARED` rows."""
    values = evidence.measured
    if len(values) < 4 * SHARED or not np.isfinite(values).all():
        return None
    ordered = np.sort(values.astype(np.float64), axis=0)
    low, high = ordered[SHARED - 1], ordered[-SHARED]  # neither is the value of the most extreme records
    exponents = _exponents(low, high)
    step = np.exp2(exponents)
    return {
        "exponents": pack_codes(exponents),
        "lows": pack_codes(np.clip(np.floor(low / step) - 1, -CODES, CODES)),
        "highs": pack_codes(np.clip(np.ceil(high / step) + 1, -CODES, CODES)),
    }


def limits(params: Params) -> tuple[Array, Array]:
    """Return the bounds of every column, float64.

    Raises:
        IntegrityError: The parameters are none of `learn`'s.
    """
    exponents, lows, highs = (unpack_codes(each) for each in fields(params, "exponents", "lows", "highs"))
    if not len(lows) == len(highs) == len(exponents) or not (lows < highs).all():
        raise refusal("bounds of unequal numbers, or the wrong way round")
    step = np.exp2(np.clip(exponents, -EXPONENTS, EXPONENTS).astype(np.float64))
    return lows * step, highs * step


def bind(params: Params) -> Score:
    """Return the score: the share of columns outside their bounds, and how far one lies outside those of all.

    A column counts in full from half the width of its bounds outside them; what lies outside the bounds of all columns
    together counts by their width, so that one wild value is enough.

    Raises:
        IntegrityError: The parameters are none of `learn`'s.
    """
    low, high = limits(params)
    columns = len(low)
    one_row, rows = _of_one(low, high), _of_many(low, high)

    def score(measured: Array) -> Array:
        if measured.shape[1] != columns or not columns:
            return np.full(len(measured), np.inf)
        if columns <= FEW and len(measured) == 1:
            return np.asarray([one_row(measured[0].tolist())])
        return rows(measured)

    return score


def _of_many(low: Array, high: Array) -> Score:
    middle, inverse = ((low + high) / 2).astype(np.float32), (2 / (high - low)).astype(np.float32)
    least, most = (float(low.min()), float(high.max())) if len(low) else (0.0, 1.0)
    none, one, share = np.float32(0), np.float32(1), 1 / max(1, len(low))

    def score(measured: Array) -> Array:
        away = np.abs(measured - middle)
        away *= inverse
        away -= one
        np.maximum(away, none, out=away)
        np.minimum(away, one, out=away)
        found = np.add.reduce(away, axis=1) * share
        if least <= np.minimum.reduce(measured, axis=None) and np.maximum.reduce(measured, axis=None) <= most:
            return np.asarray(found)
        beyond = np.maximum(measured.max(axis=1) - most, least - measured.min(axis=1)) / (most - least)
        return np.asarray(found + np.maximum(beyond, 0))

    return score


def _of_one(low: Array, high: Array) -> Callable[[list[float]], float]:
    """The same for one row of few columns: arrays would cost more than the numbers."""
    bounds = list(zip(((low + high) / 2).tolist(), (2 / (high - low)).tolist(), strict=True))
    least, most = (float(low.min()), float(high.max())) if len(low) else (0.0, 1.0)
    share = 1 / max(1, len(bounds))

    def score(values: list[float]) -> float:
        total = 0.0
        for value, (middle, inverse) in zip(values, bounds, strict=True):
            away = abs(value - middle) * inverse - 1
            if not away <= 0:
                total += min(away, 1.0)
        return total * share + max(max(values) - most, least - min(values), 0.0) / (most - least)

    return score


def _exponents(low: Array, high: Array) -> Array:
    """Return the exponent of every column's step: wide enough for the width, and for codes to stay small."""
    width = high - low
    some = width[width > 0]
    width = np.where(width > 0, width, np.median(some) if some.size else 1.0)  # a constant takes a step like others'
    least = np.maximum(np.abs(low), np.abs(high)) / (CODES / 2)
    return np.clip(np.ceil(np.log2(np.maximum(width / STEPS, least))), -EXPONENTS, EXPONENTS)
