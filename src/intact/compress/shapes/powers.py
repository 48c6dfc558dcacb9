"""Powers of two of either sign, and zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.compress.shapes import LARGEST, Array, Shape


def levels(weights: Array, bits: int, importance: Array | None, largest: int = LARGEST) -> NDArray[np.int64]:
    """1, 2, 4, ... up to 2^(bits-1) - 1 of them and to `largest`, with their negatives and zero.

    Source:
        Zhou et al. 2017, arXiv:1702.03044, section 3.1.
    """
    count = min(2 ** (bits - 1) - 1, largest.bit_length())
    sizes = 2 ** np.arange(count, dtype=np.int64)
    return np.concatenate([-sizes[::-1], [0], sizes])


SHAPE = Shape(name="powers", levels=levels)
