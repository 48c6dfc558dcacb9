"""The bytes of the tensor, a piece a chunk: for whatever repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.numbers.storage.form import Bytes, Decode, Draft, Extent, Form, Parameters, Piece, check


def _drafts(array: NDArray[Any]) -> Iterator[Draft]:
    extent = Extent.of(array.shape, array.itemsize)
    spans = (extent.span(chunk) for chunk in range(extent.chunks))
    yield Draft(parameters={}, pieces=tuple(array[first:last].tobytes() for first, last in spans))


def _pieces(extent: Extent, parameters: Parameters) -> int:
    check(parameters, {})
    return extent.chunks


def _decoder(extent: Extent, parameters: Parameters, piece: Piece) -> Decode:
    def decode(chunk: int, out: Bytes) -> None:
        np.copyto(out, np.frombuffer(piece(chunk, len(out)), np.uint8))

    return decode


FORM = Form(name="zstd", effort=6, drafts=_drafts, pieces=_pieces, decoder=_decoder)
