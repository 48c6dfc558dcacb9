"""The range with the least mean squared error of the codes, clipping and rounding weighed against each other."""

from __future__ import annotations

import math

import numpy as np

from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Observer, Range

SHRINKS = np.linspace(1.0, 0.3, 36)
TOO_NARROW = 2.0**-100
"""Nothing is gained by clipping what no scale resolves."""


def choose(statistics: Statistics, grid: Grid, percentile: float) -> Range:
    """Try the full range shrunk step by step (or halved, where scales are powers of two); keep the best.

    Source:
        Choukroun et al. 2019, arXiv:1902.06822 (minimum mean squared error clipping).
    """
    low, high = min(0.0, statistics.low), max(0.0, statistics.high)
    if high - low < TOO_NARROW:
        return Range(low=low, high=high)
    candidates = _power_of_two_ranges(low, high, grid) if grid.power_of_two else _shrunk_ranges(low, high)
    return min(candidates, key=lambda candidate: _error(statistics, candidate, grid))


def _shrunk_ranges(low: float, high: float) -> list[Range]:
    return [Range(low=low * share, high=high * share) for share in SHRINKS]


def _power_of_two_ranges(low: float, high: float, grid: Grid) -> list[Range]:
    """The ranges of the smallest power-of-two scale that covers everything and of the three below it."""
    top = math.ceil(math.log2((high - low) / (grid.levels - 1)))
    ranges = []
    for exponent in range(top, top - 4, -1):
        width = (grid.levels - 1) * 2.0**exponent
        share = min(1.0, width / (high - low))
        ranges.append(Range(low=low * share, high=high * share))
    return ranges


def _error(statistics: Statistics, candidate: Range, grid: Grid) -> float:
    scale = (candidate.high - candidate.low) / (grid.levels - 1)
    if grid.power_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale) - 1e-9)
    zero_point = round(-candidate.low / scale)
    steps = statistics.sample / np.float32(scale)
    codes = np.clip(np.rint(steps), -zero_point, grid.levels - 1 - zero_point)
    return float(np.mean(np.square(codes - steps), dtype=np.float64)) * scale**2


OBSERVER = Observer(name="mse", choose=choose)
