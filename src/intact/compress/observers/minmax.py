"""The whole range seen: nothing is clipped."""

from __future__ import annotations

from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Observer, Range


def choose(statistics: Statistics, grid: Grid, percentile: float) -> Range:
    """Return the least and greatest value seen, zero included."""
    return Range(low=min(0.0, statistics.low), high=max(0.0, statistics.high))


OBSERVER = Observer(name="minmax", choose=choose)
