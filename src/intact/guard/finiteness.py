"""Which rows hold a NaN or an infinity."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from intact.guard.check import Array


def all_finite(values: Iterable[Array]) -> bool:
    """Whether no array holds a NaN or an infinity; may say no of finite values whose sum is not."""
    return all(math.isfinite(np.add.reduce(value, axis=None)) for value in values if value.dtype.kind == "f")


def strange(values: Iterable[Array], count: int) -> Array:
    """Return (rows, 1) float32: 1 for rows in which some array is not finite, else 0."""
    found = np.zeros((count, 1), np.float32)
    for value in values:
        if value.dtype.kind != "f":
            continue
        finite = np.isfinite(value)
        if not finite.all():
            apart = value.ndim > 0 and len(value) == count
            found[~finite.reshape(count, -1).all(axis=1) if apart else slice(None)] = 1.0
    return found
