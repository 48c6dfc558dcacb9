"""Every output lies between the least and the greatest that calibration gave, or near."""

from __future__ import annotations

import numpy as np

from intact.guard.bounds import bind, extremes, learn
from intact.guard.check import Array, Check
from intact.guard.rows import Rows

FEW = 32


def measure(rows: Rows) -> Array | None:
    """Return the least and the greatest value of every output."""
    names = rows.outputs if len(rows.outputs) == 1 else sorted(rows.outputs)
    values = [rows.outputs[name] for name in names]
    if not values or any(value.ndim == 0 or len(value) != rows.count or not value.size for value in values):
        return None
    if rows.count == 1 and len(values) == 1 and 1 < values[0].size <= FEW:
        return _of_few(values[0].ravel().tolist())
    return extremes(((value, 1) for value in values), rows.count)


def _of_few(values: list[float]) -> Array:
    """The same of a few numbers, without arrays; a NaN, which min and max may miss, stays one."""
    total = sum(values)
    return np.asarray([[min(values), max(values)] if total == total else [total, total]], np.float32)


CHECK = Check(name="output_range", place="output", mode="flag", measure=measure, learn=learn, bind=bind)
