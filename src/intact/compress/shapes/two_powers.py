"""Sums of two powers of two of either sign, and zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.compress.shapes import LARGEST, Array, Shape, kmeans
from intact.compress.space import nearest_level

SIZES = np.unique(np.add.outer([0, *(2**power for power in range(7))], [0, *(2**power for power in range(7))]))
"""Every sum of at most two powers of two, from 0 to 128."""


def levels(weights: Array, bits: int, importance: Array | None, largest: int = LARGEST) -> NDArray[np.int64]:
    """The sums of two powers next to the weights' own clusters, of either sign.

    There are 57 of them within 8 bits, so that more than 6 bits say nothing more.

    Source:
        Li et al. 2019, arXiv:1909.13144, section 2.1; which sums, the paper fixes, and here the weights decide.
    """
    sizes = SIZES[largest >= SIZES]
    allowed = np.concatenate([-sizes[:0:-1], sizes])
    wanted = kmeans.levels(weights, bits, importance, int(sizes[-1]))
    return np.unique(nearest_level(wanted.astype(np.float64), allowed).astype(np.int64))


SHAPE = Shape(name="two-powers", levels=levels)
