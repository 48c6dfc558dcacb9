"""Wide items taken apart into their first bytes, their second bytes, ...: signs and exponents of floats are few.

Pieces: of each chunk, one for every byte of an item, the lowest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage.form import Bytes, Decode, Draft, Extent, Form, Parameters, Piece, check


def _drafts(array: NDArray[Any]) -> Iterator[Draft]:
    if array.itemsize == 1:
        return
    extent = Extent.of(array.shape, array.itemsize)
    items = array.reshape(-1).view(np.uint8).reshape(*array.shape, array.itemsize)
    spans = [extent.span(chunk) for chunk in range(extent.chunks)]
    pieces = (items[first:last, :, place].tobytes() for first, last in spans for place in range(array.itemsize))
    yield Draft(parameters={}, pieces=tuple(pieces))


def _pieces(extent: Extent, parameters: Parameters) -> int:
    check(parameters, {})
    return extent.chunks * extent.itemsize


def _decoder(extent: Extent, parameters: Parameters, piece: Piece) -> Decode:
    def decode(chunk: int, out: Bytes) -> None:
        items = out.reshape(-1, extent.itemsize)
        for place in range(extent.itemsize):
            items[:, place] = np.frombuffer(piece(chunk * extent.itemsize + place, len(items)), np.uint8)

    return decode


FORM = Form(name="planes", effort=4, drafts=_drafts, pieces=_pieces, decoder=_decoder)
