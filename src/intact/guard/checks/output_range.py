"""Every output lies between the least and the greatest that calibration gave, or near."""

from __future__ import annotations

from intact.guard.bounds import bind, extremes, learn
from intact.guard.check import Array, Check
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array | None:
    """Return the least and the greatest value of every output."""
    values = [rows.outputs[name] for name in sorted(rows.outputs)]
    if not values or any(value.ndim == 0 or len(value) != rows.count or not value.size for value in values):
        return None
    return extremes(((value, 1) for value in values), rows.count)


CHECK = Check(name="output_range", place="output", mode="flag", measure=measure, learn=learn, bind=bind)
