"""Levels that weights of a normal distribution would use equally often."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from intact.compress.shapes import LARGEST, Array, Shape

TAIL = 0.9677083
"""Chance of the normal distribution up to the largest level."""


def levels(weights: Array, bits: int, importance: Array | None, largest: int = LARGEST) -> NDArray[np.int64]:
    """NormalFloat of any width, NF4 at 4 bits, to the nearest whole number with `largest` for one.

    Source:
        Dettmers et al. 2023, arXiv:2305.14314, section 3 and appendix E.
    """
    half = 2 ** (bits - 1)
    above = _quantiles(half + 1) / _quantiles(half + 1)[0]
    below = -_quantiles(half) / _quantiles(half)[0]
    return np.unique(np.rint(np.concatenate([above, below]) * largest).astype(np.int64))


def _quantiles(count: int) -> Array:
    """`count` quantiles from the tail to the middle, which is zero."""
    return np.array([NormalDist().inv_cdf(chance) for chance in np.linspace(TAIL, 0.5, count)])


SHAPE = Shape(name="nf4", levels=levels)
