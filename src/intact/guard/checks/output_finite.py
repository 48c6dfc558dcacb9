"""No output holds a NaN or an infinity."""

from __future__ import annotations

from intact.guard.arrays import fields
from intact.guard.check import Array, Check, Params, Score
from intact.guard.finiteness import all_finite, strange
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array:
    """Return 0 for rows of finite outputs, else 1."""
    return strange(rows.outputs.values(), rows.count)


def passes(rows: Rows) -> bool:
    """Whether all rows are finite."""
    return all_finite(rows.outputs.values())


def bind(params: Params) -> Score:
    """Take what is measured as it is."""
    fields(params)
    return lambda measured: measured[:, 0]


CHECK = Check(name="output_finite", place="output", mode="refuse", measure=measure, bind=bind, limit=0.0, passes=passes)
