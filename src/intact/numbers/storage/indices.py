"""Indices into a book of at most 256 values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError
from intact.numbers.storage.form import Bytes

MAX_VALUES: Final = 256
LOOKUP_STEP: Final = 2**15
"""Lookups at a time; numpy makes eight bytes of each index on the way, which should stay in cache."""
GLIMPSE: Final = 2**12
"""Elements that show whether it is worth counting all distinct values."""
PAIRS_FROM: Final = 2**17
"""Lookups from which a table of pairs is worth making."""


def width(values: int) -> int:
    """Return the fewest bits, 1 to 8, that count `values` values."""
    return max(1, (values - 1).bit_length())


def even_width(values: int) -> int:
    """Return the fewest bits that do and divide a byte, so that a Huffman code over bytes sees whole indices."""
    return next(bits for bits in (1, 2, 4, 8) if bits >= width(values))


def widths(values: int) -> list[int]:
    """Return the widths worth trying: the fewest bits, and those that compress better."""
    return sorted({width(values), even_width(values)})


def census(items: Bytes) -> NDArray[np.int64]:
    """Return how often each byte occurs in `items`, shape (256,)."""
    flat, counts = items.reshape(-1), np.zeros(MAX_VALUES, np.int64)
    for start in range(0, len(flat), LOOKUP_STEP):
        counts += np.bincount(flat[start : start + LOOKUP_STEP], minlength=MAX_VALUES)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An array as a book and indices into it: `values[indices]` is the array.

    Args:
        values: The book, 1-D, ascending.
        indices: uint8, in the shape of the array.
    """

    values: NDArray[Any]
    indices: Bytes


def index(array: NDArray[Any]) -> Indexed | None:
    """Return `array`, of integers, by its distinct values; None where there are more than 256."""
    if array.itemsize == 1:
        return _index_bytes(array)
    if len(np.unique(array.reshape(-1)[:GLIMPSE])) > MAX_VALUES:
        return None
    values = np.unique(array)
    if len(values) > MAX_VALUES:
        return None
    return Indexed(values=values, indices=np.searchsorted(values, array).astype(np.uint8))


def _index_bytes(array: NDArray[Any]) -> Indexed:
    """Return an array of bytes by its distinct values, or all between the first and the last where that is no wider."""
    found = np.flatnonzero(census(array.view(np.uint8))).astype(np.uint8).view(array.dtype)
    values = np.sort(found)
    run = np.arange(int(values[0]), int(values[-1]) + 1).astype(array.dtype)
    if width(len(run)) == width(len(values)):  # counting is faster than looking up
        values = run
    table = np.zeros(MAX_VALUES, np.uint8)
    table[values.view(np.uint8)] = np.arange(len(values), dtype=np.uint8)
    indices = np.frombuffer(array.tobytes().translate(table.tobytes()), np.uint8)
    return Indexed(values=values, indices=indices.reshape(array.shape))


class Lookup:
    """A book ready to be looked up in.

    Args:
        book: The values, each `itemsize` bytes, back to back.
        itemsize: Bytes of a value.
        uses: About how many lookups there will be.
    """

    def __init__(self, book: memoryview, itemsize: int, uses: int) -> None:
        self.values = len(book) // itemsize
        self._itemsize = itemsize
        table = np.zeros((MAX_VALUES, itemsize), np.uint8)
        table[: self.values] = np.frombuffer(book, np.uint8).reshape(-1, itemsize)
        self._table: NDArray[Any] = table.view(f"<u{itemsize}").reshape(-1)
        self._first = _first_of_run(table[: self.values]) if itemsize == 1 else None
        self._pairs = None
        if itemsize == 1 and self._first is None and uses >= PAIRS_FROM:
            single = self._table.astype("<u2")
            self._pairs = (single | single[:, None] << np.uint16(8)).reshape(-1)

    def write(self, indices: Bytes, out: Bytes) -> None:
        """Write the bytes of the values at `indices` to `out`.

        Raises:
            IntegrityError: An index is beyond the book.
        """
        if self.values < MAX_VALUES and indices.size and indices.max() >= self.values:
            raise IntegrityError(f"a stored tensor has index {indices.max()}, its book has {self.values} values")
        if self._first is not None:
            np.add(indices, self._first, out=out)
            return
        even = len(indices) // 2 * 2 if self._pairs is not None else 0
        if self._pairs is not None and even:
            _take(self._pairs, indices[:even].view("<u2"), out[:even].view("<u2"))
        target = out[even * self._itemsize :].view(self._table.dtype)
        _take(self._table, indices[even:], target)


def _first_of_run(book: Bytes) -> np.uint8 | None:
    """Return the first byte of a book that counts upwards without a gap; None where it does not."""
    first: np.uint8 = book[0, 0]
    run = first + np.arange(len(book), dtype=np.uint8)
    return first if np.array_equal(book[:, 0], run) else None


def _take(table: NDArray[Any], indices: NDArray[Any], out: NDArray[Any]) -> None:
    """Write `table[indices]` to `out`, a stretch at a time."""
    for start in range(0, len(indices), LOOKUP_STEP):
        part = slice(start, start + LOOKUP_STEP)
        np.take(table, indices[part], out=out[part], mode="clip")
