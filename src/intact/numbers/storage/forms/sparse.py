"""Bytes that are mostly zero: a bit for each element, and packed indices of those that are not.

Pieces: where the group is not 0, the two of the multipliers, as for multiples; the book; then of each chunk, the bits,
element i as bit i mod 8 of byte i // 8 from the least significant, and the indices of its elements whose bit is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError
from intact.numbers.packing import pack, packed_size, unpack
from intact.numbers.storage.form import Bytes, Decode, Draft, Extent, Form, Parameters, Piece, check
from intact.numbers.storage.indices import MAX_VALUES, Lookup, index, widths
from intact.numbers.storage.scaling import PIECES, RANGES, Scaling, refuse_wide, scaled

FEWEST_ZEROS: Final = 0.25
"""Share of zeros from which this form can pay."""
_PLAIN: Final = dict.fromkeys(RANGES, 0)
"""The parameters of multipliers where there are none."""


def _drafts(array: NDArray[Any]) -> Iterator[Draft]:
    if array.itemsize > 1 or array.size - np.count_nonzero(array) < FEWEST_ZEROS * array.size or not array.any():
        return
    yield from _masked(array, _PLAIN, ())
    found = scaled(array)
    if found is not None:
        yield from _masked(found.quotients, found.parameters, found.pieces)


def _masked(array: NDArray[Any], parameters: Parameters, pieces: tuple[bytes, ...]) -> Iterator[Draft]:
    """Yield drafts of `array`, after multipliers that are stored so."""
    extent = Extent.of(array.shape, 1)
    chunks = [array[slice(*extent.span(chunk))].reshape(-1) for chunk in range(extent.chunks)]
    masks = [np.packbits(chunk != 0, bitorder="little").tobytes() for chunk in chunks]
    book = index(array[array != 0])
    assert book is not None  # a byte has no more values than a book holds
    cuts = np.cumsum([np.count_nonzero(chunk) for chunk in chunks])[:-1]
    parts = np.split(book.indices, cuts)
    for bits in widths(len(book.values)):
        codes = (pack(part, bits) for part in parts)
        yield Draft(
            parameters={"values": len(book.values), "bits": bits, **parameters},
            pieces=(
                *pieces,
                book.values.tobytes(),
                *(each for pair in zip(masks, codes, strict=True) for each in pair),
            ),
        )


def _pieces(extent: Extent, parameters: Parameters) -> int:
    refuse_wide(extent)
    multiplied = parameters.get("group") != 0
    shared = RANGES if multiplied else dict.fromkeys(RANGES, (0, 0))
    check(parameters, {"values": (1, MAX_VALUES), "bits": (1, 8), **shared})
    return PIECES * multiplied + 1 + 2 * extent.chunks


def _decoder(extent: Extent, parameters: Parameters, piece: Piece) -> Decode:
    bits, scaling = parameters["bits"], Scaling.read(extent, parameters, piece) if parameters["group"] else None
    start = PIECES if scaling else 0
    lookup = Lookup(piece(start, parameters["values"]), 1, extent.size)

    def decode(chunk: int, out: Bytes) -> None:
        mask = np.frombuffer(piece(start + 1 + 2 * chunk, packed_size(len(out), 1)), np.uint8)
        places = np.flatnonzero(np.unpackbits(mask, bitorder="little").view(np.bool_))
        if places.size and places[-1] >= len(out):
            raise IntegrityError("bits after the last element of a stored tensor are set")
        indices = unpack(piece(start + 2 + 2 * chunk, packed_size(len(places), bits)), bits, len(places))
        values = np.empty(len(places), np.uint8)
        lookup.write(indices, values)
        out.fill(0)
        out[places] = values
        if scaling:
            scaling.apply(chunk, out)

    return decode


FORM = Form(name="sparse", effort=9, drafts=_drafts, pieces=_pieces, decoder=_decoder)
