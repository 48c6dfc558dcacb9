"""Multipliers as they are stored: a book of them, and packed indices into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError
from intact.numbers.packing import pack, packed_size, unpack
from intact.numbers.storage import multipliers
from intact.numbers.storage.form import Bytes, Extent, Parameters, Piece
from intact.numbers.storage.indices import MAX_VALUES, Lookup, index, width
from intact.numbers.storage.search import find

RANGES: Final = {
    "axis": (0, 1),
    "group": (1, 2**42),
    "multipliers": (1, MAX_VALUES),
    "multiplier_bits": (1, 8),
}
"""The parameters that say how multipliers are stored."""
PIECES: Final = 2
"""Pieces that hold them: the book, the indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A matrix divided by the multipliers of its groups.

    Args:
        quotients: What is left, in the type and shape of the matrix.
        parameters: How the multipliers are stored.
        pieces: They themselves.
    """

    quotients: NDArray[Any]
    parameters: Parameters
    pieces: tuple[bytes, ...]


def scaled(matrix: NDArray[Any]) -> Scaled | None:
    """Return `matrix`, int8 or uint8, by multipliers that pay; None where none do."""
    choice = find(matrix)
    if choice is None:
        return None
    axis, group = choice.axis, choice.group
    shared, quotients = choice.split(matrix if axis else np.ascontiguousarray(matrix.T))
    book = index(np.ascontiguousarray(shared if axis else shared.T))
    assert book is not None  # a byte has no more values than a book holds
    bits = width(len(book.values))
    return Scaled(
        quotients=quotients if axis else np.ascontiguousarray(quotients.T),
        parameters={"axis": axis, "group": group, "multipliers": len(book.values), "multiplier_bits": bits},
        pieces=(book.values.tobytes(), pack(book.indices, bits)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Multipliers read back.

    Args:
        extent: The matrix they belong to.
        axis: What the groups lie along.
        group: Elements of a group.
        shared: The multipliers: shape (rows, groups) for axis 1, (groups, columns) for axis 0.
    """

    extent: Extent
    axis: int
    group: int
    shared: Bytes

    @classmethod
    def read(cls, extent: Extent, parameters: Parameters, piece: Piece) -> Scaling:
        """Return the multipliers in the first two pieces.

        Args:
            extent: Of the matrix.
            parameters: Those of `RANGES`, checked to be in range.
            piece: Gives the pieces.

        Raises:
            IntegrityError: The pieces do not hold as many multipliers as the groups need.
        """
        axis, group, bits = parameters["axis"], parameters["group"], parameters["multiplier_bits"]
        if group > (extent.columns if axis else extent.rows):
            raise IntegrityError(f"a stored tensor of {extent.rows} x {extent.columns} has groups of {group}")
        shape = (
            (extent.rows, multipliers.groups(extent.columns, group))
            if axis
            else (multipliers.groups(extent.rows, group), extent.columns)
        )
        count = shape[0] * shape[1]
        lookup = Lookup(piece(0, parameters["multipliers"]), 1, count)
        indices = unpack(piece(1, packed_size(count, bits)), bits, count)
        shared = np.empty(count, np.uint8)
        lookup.write(indices, shared)
        return cls(extent=extent, axis=axis, group=group, shared=shared.reshape(shape))

    def apply(self, chunk: int, out: Bytes) -> None:
        """Multiply the elements of a chunk, modulo 256."""
        first, last = self.extent.span(chunk)
        matrix = out.reshape(last - first, self.extent.columns)
        multipliers.multiply(matrix, self.shared, self.axis, self.group, first)


def refuse_wide(extent: Extent) -> None:
    """Raise IntegrityError unless elements are bytes: only those are multiplied."""
    if extent.itemsize != 1:
        raise IntegrityError(f"a tensor of {extent.itemsize} bytes an element is stored in a form for bytes")
