"""Names, dtypes, ranks and sizes of the inputs are the model's."""

from __future__ import annotations

import numpy as np

from intact.guard.arrays import fields
from intact.guard.check import Array, Check, Params, Score
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array:
    """Return 0 for rows that fit, else 1."""
    return np.full((rows.count, 1), 0.0 if rows.fits else 1.0, np.float32)


def passes(rows: Rows) -> bool:
    """Whether all rows fit."""
    return rows.fits


def bind(params: Params) -> Score:
    """Take what is measured as it is."""
    fields(params)
    return lambda measured: measured[:, 0]


CHECK = Check(name="shape", place="input", mode="refuse", measure=measure, bind=bind, limit=0.0, passes=passes)
