"""Integer multipliers of groups of elements: finding them, and multiplying by them.

A matrix is cut into groups along one of its axes: along 1, groups of consecutive columns of a row; along 0, groups of
consecutive rows of a column. The last group of a row or column may be smaller.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage.form import Bytes

Matrix: TypeAlias = NDArray[Any]


def groups(extent: int, group: int) -> int:
    """Return how many groups of `group` elements, the last one perhaps smaller, make `extent`."""
    return -(-extent // group)


def divisors(matrix: Matrix, group: int) -> Bytes:
    """Return the greatest common divisor of each group of `group` columns, 1 to 128, shape (rows, groups).

    Args:
        matrix: int8 or uint8, 2-D.
        group: Columns of a group.
    """
    size = np.abs(matrix).view(np.uint8)  # |-128| wraps to the byte 128, as wanted
    rows, columns = matrix.shape
    if columns % group:
        found = np.gcd.reduceat(size, np.arange(0, columns, group), axis=1)
    else:
        found = np.gcd.reduce(size.reshape(rows, -1, group), axis=2)
    return np.maximum(found, np.uint8(1))  # a group of zeros has none


def divide(matrix: Matrix, shared: Bytes, group: int) -> Bytes:
    """Return the bytes of `matrix` divided by the divisors of its groups of columns."""
    spread = expand(shared, group, matrix.shape[1])
    return (matrix.astype(np.int16) // spread).astype(np.uint8)


def expand(shared: Bytes, group: int, columns: int) -> Bytes:
    """Return the multiplier of every element, shape (rows, columns), from those of groups of columns."""
    if group == columns:
        return np.broadcast_to(shared, (len(shared), columns))
    if group % 8 == 0 and columns % group == 0:  # eight at a time
        words = shared.astype(np.uint64) * np.uint64(0x0101010101010101)
        return np.repeat(words, group // 8, axis=1).view(np.uint8)
    return np.repeat(shared, group, axis=1)[:, :columns]


def multiply(out: Bytes, shared: Bytes, axis: int, group: int, first: int) -> None:
    """Multiply rows of the matrix, the first of which is row `first`, by the multipliers of their groups, modulo 256.

    Args:
        out: The rows, shape (rows, columns).
        shared: All multipliers: shape (all rows, groups) for axis 1, (groups, columns) for axis 0.
        axis: What the groups lie along.
        group: Elements of a group.
        first: Number of the first row.
    """
    rows, columns = out.shape
    if axis == 0:
        np.multiply(out, np.take(shared, np.arange(first, first + rows) // group, axis=0), out=out)
        return
    np.multiply(out, expand(shared[first : first + rows], group, columns), out=out)
