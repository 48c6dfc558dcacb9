"""Reading tensors back from bytes that may be hostile."""

from __future__ import annotations

import numpy as np

from intact.errors import IntegrityError
from intact.numbers.storage.encode import RAW
from intact.numbers.storage.form import MAX_RATIO, Bytes, Extent, Parameters
from intact.numbers.storage.forms import form
from intact.numbers.storage.pieces import WORD_BYTES, Pieces


def check_size(name: str, parameters: Parameters, shape: tuple[int, ...], itemsize: int, stored_bytes: int) -> None:
    """Check, before anything is allocated, that a tensor can be what its description says.

    Args:
        name: The form.
        parameters: Its parameters.
        shape: Extents of the tensor.
        itemsize: Bytes of an element.
        stored_bytes: Size of the tensor as stored.

    Raises:
        IntegrityError: The form is unknown, its parameters make no sense, or it needs another size than `stored_bytes`.
    """
    extent = Extent.of(shape, itemsize)
    if name == RAW:
        if parameters or extent.nbytes != stored_bytes:
            raise IntegrityError(
                f"a raw tensor of {extent.nbytes} bytes is stored in {stored_bytes}, with {parameters}"
            )
        return
    pieces = form(name).pieces(extent, parameters)
    if not 0 < extent.nbytes <= MAX_RATIO * stored_bytes:
        raise IntegrityError(f"a tensor of {extent.nbytes} bytes is stored in {stored_bytes}")
    if pieces * WORD_BYTES > stored_bytes:
        raise IntegrityError(f"a stored tensor has {stored_bytes} bytes, too few for {pieces} pieces")


class Decoder:
    """A stored tensor, ready to be decoded chunk by chunk, in any order, by any number of threads.

    Args:
        name: The form; any but "raw", which needs no decoding.
        parameters: Its parameters.
        shape: Extents of the tensor.
        itemsize: Bytes of an element.
        stored: The bytes, from anywhere.

    Raises:
        IntegrityError: They cannot be a tensor of this shape in this form.
    """

    def __init__(
        self, name: str, parameters: Parameters, shape: tuple[int, ...], itemsize: int, stored: memoryview
    ) -> None:
        check_size(name, parameters, shape, itemsize, len(stored))
        self._extent = Extent.of(shape, itemsize)
        found = form(name)
        pieces = Pieces(stored, found.pieces(self._extent, parameters))
        self._decode = found.decoder(self._extent, parameters, pieces)

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return self._extent.chunks

    def decode(self, chunk: int, out: Bytes) -> None:
        """Write the bytes of chunk number `chunk` to their place in `out`, the bytes of the whole tensor.

        Raises:
            IntegrityError: What is stored is no tensor of this shape in this form. What `out` then holds is of no use.
        """
        first = self._extent.span(chunk)[0] * self._extent.columns
        last = first + self._extent.count(chunk)
        self._decode(chunk, out[first * self._extent.itemsize : last * self._extent.itemsize])


def decode(name: str, parameters: Parameters, shape: tuple[int, ...], itemsize: int, stored: memoryview) -> Bytes:
    """Return the bytes of a tensor, in one thread; the inverse of `encode`.

    Raises:
        IntegrityError: `stored` is no tensor of this shape in this form.
    """
    check_size(name, parameters, shape, itemsize, len(stored))
    if name == RAW:
        return np.frombuffer(stored, np.uint8)
    decoder = Decoder(name, parameters, shape, itemsize, stored)
    out = np.empty(Extent.of(shape, itemsize).nbytes, np.uint8)
    for chunk in range(decoder.chunks):
        decoder.decode(chunk, out)
    return out
