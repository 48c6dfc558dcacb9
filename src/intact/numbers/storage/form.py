"""What a storage form is, and what it is told of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError

Bytes: TypeAlias = NDArray[np.uint8]
Parameters: TypeAlias = Mapping[str, int]

CHUNK_ELEMENTS: Final = 2**18
"""About how many elements are decoded at a time: they stay in a core's cache."""
MAX_RATIO: Final = 64
"""A stored tensor is at most so many times smaller than the tensor, which bounds what a reader allocates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A tensor as rows and columns, cut into chunks of whole rows.

    Args:
        rows: Size of the first axis; 1 for a scalar.
        columns: Product of the others.
        itemsize: Bytes of an element.
    """

    rows: int
    columns: int
    itemsize: int

    @classmethod
    def of(cls, shape: tuple[int, ...], itemsize: int) -> Extent:
        """Return the extent of a tensor of this shape."""
        return cls(rows=shape[0] if shape else 1, columns=math.prod(shape[1:]), itemsize=itemsize)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.rows * self.columns

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.size * self.itemsize

    @property
    def step(self) -> int:
        """Rows of a chunk; the last one may have fewer."""
        return max(1, CHUNK_ELEMENTS // max(1, self.columns))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.rows // self.step) if self.size else 0

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the first row of chunk number `chunk`, and the first after it."""
        return chunk * self.step, min((chunk + 1) * self.step, self.rows)

    def count(self, chunk: int) -> int:
        """Return the number of elements of chunk number `chunk`."""
        first, last = self.span(chunk)
        return (last - first) * self.columns


Piece: TypeAlias = Callable[[int, int], memoryview]
"""`piece(number, size)`: piece `number` of what is stored, decompressed; IntegrityError unless it has `size` bytes."""
Decode: TypeAlias = Callable[[int, Bytes], None]
"""`decode(chunk, out)`: write the bytes of that chunk; safe to call from several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A tensor in one form, before its pieces are compressed.

    Args:
        parameters: What a decoder must know beside shape and item size.
        pieces: The parts, in order.
    """

    parameters: Parameters
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to store a tensor.

    Args:
        name: File name of its module.
        effort: About how many nanoseconds decoding eight bytes takes one core: of forms that are about as small as each
            other, the one with the least is kept.
        drafts: `drafts(array)`: ways to store the array in this form, of which the smallest is kept; none where it
            does not apply. The array is 2-D, C-contiguous, of integers of one byte, or of wider items.
        pieces: `pieces(extent, parameters)`: how many pieces there are.
        decoder: `decoder(extent, parameters, piece)`: what decodes the chunks.

    `pieces` and `decoder` are given parameters from anywhere: they raise IntegrityError unless these make sense.
    """

    name: str
    effort: int
    drafts: Callable[[NDArray[Any]], Iterator[Draft]]
    pieces: Callable[[Extent, Parameters], int]
    decoder: Callable[[Extent, Parameters, Piece], Decode]


def check(parameters: Parameters, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Raise IntegrityError unless `parameters` are exactly those of `ranges`, each from its low to its high."""
    if parameters.keys() != ranges.keys():
        raise IntegrityError(f"a storage form has parameters {sorted(parameters)}, wanted {sorted(ranges)}")
    for name, (low, high) in ranges.items():
        if not low <= parameters[name] <= high:
            raise IntegrityError(f"parameter {name!a} of a storage form is {parameters[name]}, wanted {low} to {high}")
