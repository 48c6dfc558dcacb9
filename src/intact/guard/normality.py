"""How near to a normal distribution some numbers are: the statistic W of Shapiro and Wilk."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.guard.check import Array

LEAST: Final = 6
MOST: Final = 5000
_LAST: Final = (-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0.0)
_LAST_BUT_ONE: Final = (-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0)


def shapiro_wilk(values: Array) -> float:
    """Return W, near 1 for a sample of a normal distribution and less for others; 1 where all values are equal.

    Args:
        values: 6 to 5,000 finite numbers.

    Source:
        Royston 1995, Applied Statistics algorithm AS R94.
    """
    assert LEAST <= len(values) <= MOST
    ordered = np.sort(np.asarray(values, np.float64))
    ordered -= ordered.mean()
    spread = float(ordered @ ordered)
    return 1.0 if spread <= 0.0 else min(1.0, float(_weights(len(values)) @ ordered) ** 2 / spread)


@lru_cache(maxsize=64)
def _weights(count: int) -> NDArray[np.float64]:
    normal = NormalDist()
    middles = np.asarray([normal.inv_cdf((rank - 0.375) / (count + 0.25)) for rank in range(1, count + 1)])
    squares, step = float(middles @ middles), 1 / np.sqrt(count)
    last = middles[-1] / np.sqrt(squares) + np.polyval(_LAST, step)
    before = middles[-2] / np.sqrt(squares) + np.polyval(_LAST_BUT_ONE, step)
    rest = (squares - 2 * middles[-1] ** 2 - 2 * middles[-2] ** 2) / (1 - 2 * last**2 - 2 * before**2)
    weights = middles / np.sqrt(rest)
    weights[[0, 1, -2, -1]] = -last, -before, before, last
    return np.asarray(weights, np.float64)
