"""The pieces of a stored tensor: each as it is, or a Zstandard frame where that is smaller.

    stored = word 0 || word 1 || ... || piece 0 || piece 1 || ...

A word is four bytes, little-endian: the size of its piece as stored, plus 2^31 where the piece is a Zstandard frame
(`frame`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np

from intact.errors import IntegrityError
from intact.numbers.storage.frame import compress_codes, content_size, decompress

WORD_BYTES: Final = 4
FRAME: Final = 2**31
"""Added to the size of a piece that is a Zstandard frame; no piece is as large."""
WORTH: Final = 64
"""A frame must save one part in so many, or the piece stays as it is, which is read faster."""


def join(pieces: Sequence[bytes], *, compress: bool = True) -> bytes | None:
    """Return `pieces` as they are stored, each compressed where that pays; None when one is too large to be stored."""
    words, bodies = [], []
    for piece in pieces:
        frame = compress_codes(piece) if compress else piece
        smaller = len(frame) < len(piece) - len(piece) // WORTH
        body = frame if smaller else piece
        if len(body) >= FRAME:
            return None
        words.append(len(body) + (FRAME if smaller else 0))
        bodies.append(body)
    return b"".join([np.array(words, "<u4").tobytes(), *bodies])


class Pieces:
    """The pieces in the stored bytes of a tensor, from anywhere.

    Args:
        stored: The bytes.
        count: How many pieces there must be.

    Raises:
        IntegrityError: Sizes and pieces do not fill `stored` exactly.
    """

    def __init__(self, stored: memoryview, count: int) -> None:
        if len(stored) < count * WORD_BYTES:
            raise IntegrityError(f"a stored tensor has {len(stored)} bytes, too few for {count} pieces")
        self._words = np.frombuffer(stored[: count * WORD_BYTES], "<u4").tolist()
        sizes = [word % FRAME for word in self._words]
        self._ends = list(accumulate(sizes, initial=count * WORD_BYTES))
        self._stored = stored
        if self._ends[-1] != len(stored):
            raise IntegrityError(f"the pieces of a stored tensor take {self._ends[-1]} bytes, not {len(stored)}")

    def __call__(self, number: int, size: int) -> memoryview:
        """Return piece `number`, which must have `size` bytes; nothing larger is ever made of it.

        Raises:
            IntegrityError: It has another size, or is no frame of the kind allowed.
        """
        body = self._stored[self._ends[number] : self._ends[number + 1]]
        plain = self._words[number] < FRAME
        found = len(body) if plain else content_size(body)
        if found != size:
            raise IntegrityError(f"piece {number} of a stored tensor has {found} bytes, wanted {size}")
        return body if plain else memoryview(decompress(body, size))
