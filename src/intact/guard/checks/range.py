"""Every feature of the inputs lies where calibration saw it, or near."""

from __future__ import annotations

from intact.guard.bounds import BLOCKS, bind, extremes, learn
from intact.guard.check import Array, Check
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array:
    """Return the values of every feature; of an input whose sizes may vary, the least and the greatest of all."""
    return extremes(
        ((rows.feeds[each.name], 1 if each.varies else BLOCKS) for each in rows.takes),
        rows.count,
    )


CHECK = Check(name="range", place="input", mode="flag", measure=measure, learn=learn, bind=bind)
