"""Which multipliers make a matrix smallest, judged by a sample of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage.form import Bytes
from intact.numbers.storage.indices import census, even_width, width
from intact.numbers.storage.multipliers import divide, divisors, expand, groups
from intact.numbers.storage.orientation import anchor, flips

Matrix: TypeAlias = NDArray[Any]

SMALLEST: Final = 16
LARGEST: Final = 128
"""Elements of a group, but for one that is the whole row or column."""
POWERS: Final = (16, 32, 64, 128)
"""Sizes of groups tried even where they leave a smaller one at the end."""
SHORTEST: Final = 8
"""Shortest row or column that has a multiplier of its own."""
PAYS: Final = 0.98
"""What is left of the estimated size where multipliers are worth trying."""
SAMPLE: Final = 2**15
"""Elements that candidates are compared on."""
FEW: Final = 64
"""Most distinct values among which signs are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A kind of multipliers.

    Args:
        axis: What the groups lie along.
        group: Elements of a group.
        common: Whether a multiplier is the greatest common divisor of its group, or else 1.
        anchor: The value that negated groups hold, or None where none is negated.
    """

    axis: int
    group: int
    common: bool
    anchor: int | None

    def split(self, matrix: Matrix) -> tuple[Bytes, Matrix]:
        """Return multipliers and quotients of a matrix whose groups lie along its rows, modulo 256.

        Returns:
            uint8 of shape (rows, groups), and what is left in the type and shape of the matrix.
        """
        rows, columns = matrix.shape
        shared = np.ones((rows, groups(columns, self.group)), np.uint8)
        quotients = matrix
        if self.common:
            shared = divisors(matrix, self.group)
            quotients = divide(matrix, shared, self.group).view(matrix.dtype)
        if self.anchor is None:
            return shared, quotients
        signs = np.where(flips(quotients, self.group, self.anchor), np.uint8(255), np.uint8(1))
        spread = expand(signs, self.group, columns)
        return shared * signs, (quotients.view(np.uint8) * spread).view(matrix.dtype)


def find(matrix: Matrix) -> Choice | None:
    """Return the multipliers that make `matrix`, int8 or uint8, smallest; None where none pays."""
    best, found = PAYS * _cost(matrix.size, census(_sample(matrix, 1).view(np.uint8)), 0), None
    for axis in (1, 0):
        sample = _sample(matrix, axis)
        for choice in _choices(sample, axis):
            shared, quotients = choice.split(sample)
            share = shared.size / sample.size
            cost = _cost(matrix.size, census(quotients.view(np.uint8)), share * matrix.size)
            if cost < best:
                best, found = cost, choice
    return found


def _choices(sample: Matrix, axis: int) -> Iterator[Choice]:
    """Yield what is worth trying on the rows of `sample`."""
    for group in _sizes(sample.shape[1]):
        for common in (True, False):
            plain = Choice(axis=axis, group=group, common=common, anchor=None)
            _, quotients = plain.split(sample)
            if common:
                yield plain
            if sample.dtype == np.int8 and np.count_nonzero(census(quotients.view(np.uint8))) <= FEW:
                value = anchor(quotients, group)
                if value is not None:
                    yield Choice(axis=axis, group=group, common=common, anchor=value)


def _sizes(extent: int) -> Iterator[int]:
    """Yield the sizes of groups worth trying along an axis of `extent` elements."""
    if extent >= SHORTEST:
        yield extent
    for group in range(min(LARGEST, extent - 1), SMALLEST - 1, -1):
        if extent % group == 0 or group in POWERS:
            yield group


def _sample(matrix: Matrix, axis: int) -> Matrix:
    """Return rows, or for axis 0 columns as rows, spread evenly over the matrix, about `SAMPLE` elements of them."""
    rows, columns = matrix.shape if axis else matrix.shape[::-1]
    count = min(rows, max(1, SAMPLE // max(1, columns)))
    chosen = np.arange(count) * rows // count
    return matrix[chosen] if axis else np.ascontiguousarray(matrix[:, chosen].T)


def _cost(size: int, counts: NDArray[np.int64], multipliers: float) -> float:
    """Return about how many bytes `size` elements take whose quotients occur `counts` times, with their multipliers."""
    share = counts[counts > 0] / counts.sum()
    values = len(share)
    entropy = max(-float(share @ np.log2(share)), 1.0 / (8 // even_width(values)))  # a Huffman code has whole bits
    return size * min(entropy, width(values)) / 8 + values + multipliers / 2
