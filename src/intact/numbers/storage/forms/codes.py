"""Few distinct values: a book of them, and packed indices into it. A book of consecutive integers is narrow codes.

Pieces: the book, its values back to back; then of each chunk, its indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from numpy.typing import NDArray

from intact.numbers.packing import pack, packed_size, unpack
from intact.numbers.storage.form import Bytes, Decode, Draft, Extent, Form, Parameters, Piece, check
from intact.numbers.storage.indices import MAX_VALUES, Lookup, index, widths

_BOOK: Final = 0


def _drafts(array: NDArray[Any]) -> Iterator[Draft]:
    found = index(array)
    if found is None:
        return
    extent = Extent.of(array.shape, array.itemsize)
    spans = [extent.span(chunk) for chunk in range(extent.chunks)]
    for bits in widths(len(found.values)):
        if bits < 8 * array.itemsize:
            parts = (pack(found.indices[first:last], bits) for first, last in spans)
            yield Draft(parameters={"values": len(found.values), "bits": bits}, pieces=(found.values.tobytes(), *parts))


def _pieces(extent: Extent, parameters: Parameters) -> int:
    check(parameters, {"values": (1, MAX_VALUES), "bits": (1, 8)})
    return 1 + extent.chunks


def _decoder(extent: Extent, parameters: Parameters, piece: Piece) -> Decode:
    bits = parameters["bits"]
    book = piece(_BOOK, parameters["values"] * extent.itemsize)
    lookup = Lookup(book, extent.itemsize, extent.size)

    def decode(chunk: int, out: Bytes) -> None:
        count = extent.count(chunk)
        lookup.write(unpack(piece(1 + chunk, packed_size(count, bits)), bits, count), out)

    return decode


FORM = Form(name="codes", effort=4, drafts=_drafts, pieces=_pieces, decoder=_decoder)
