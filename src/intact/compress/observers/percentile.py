"""The range that holds a given share of the values on each side."""

from __future__ import annotations

import numpy as np

from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Observer, Range


def choose(statistics: Statistics, grid: Grid, percentile: float) -> Range:
    """Cut off the share 1 - `percentile` of the sample at either end; zero stays inside."""
    low, high = np.quantile(statistics.sample, [1.0 - percentile, percentile])
    return Range(low=min(0.0, float(low)), high=max(0.0, float(high)))


OBSERVER = Observer(name="percentile", choose=choose)
