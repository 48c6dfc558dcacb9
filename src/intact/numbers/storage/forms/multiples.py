"""Bytes that are small integer multiples: of each group a multiplier, a book of the quotients, indices into it.

The element is multiplier * value modulo 256. Pieces: the book of multipliers; the indices of the multipliers, those of
axis 1 row by row, those of axis 0 group by group; the book of the values; then of each chunk, its indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from numpy.typing import NDArray

from intact.numbers.packing import pack, packed_size, unpack
from intact.numbers.storage.form import Bytes, Decode, Draft, Extent, Form, Parameters, Piece, check
from intact.numbers.storage.indices import MAX_VALUES, Lookup, index, widths
from intact.numbers.storage.scaling import RANGES, Scaling, refuse_wide, scaled

_BOOK: Final = 2
_FIRST: Final = 3


def _drafts(array: NDArray[Any]) -> Iterator[Draft]:
    found = scaled(array) if array.itemsize == 1 else None
    if found is None:
        return
    extent = Extent.of(array.shape, 1)
    book = index(found.quotients)
    assert book is not None  # a byte has no more values than a book holds
    spans = [extent.span(chunk) for chunk in range(extent.chunks)]
    for bits in widths(len(book.values)):
        parts = (pack(book.indices[first:last], bits) for first, last in spans)
        yield Draft(
            parameters={"values": len(book.values), "bits": bits, **found.parameters},
            pieces=(*found.pieces, book.values.tobytes(), *parts),
        )


def _pieces(extent: Extent, parameters: Parameters) -> int:
    refuse_wide(extent)
    check(parameters, {"values": (1, MAX_VALUES), "bits": (1, 8), **RANGES})
    return _FIRST + extent.chunks


def _decoder(extent: Extent, parameters: Parameters, piece: Piece) -> Decode:
    bits, scaling = parameters["bits"], Scaling.read(extent, parameters, piece)
    lookup = Lookup(piece(_BOOK, parameters["values"]), 1, extent.size)

    def decode(chunk: int, out: Bytes) -> None:
        count = extent.count(chunk)
        lookup.write(unpack(piece(_FIRST + chunk, packed_size(count, bits)), bits, count), out)
        scaling.apply(chunk, out)

    return decode


FORM = Form(name="multiples", effort=5, drafts=_drafts, pieces=_pieces, decoder=_decoder)
