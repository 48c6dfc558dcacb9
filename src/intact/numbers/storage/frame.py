"""Zstandard frames (RFC 8878) that declare the size of their content and need no dictionary."""

from __future__ import annotations

from threading import local
from typing import Final

import zstandard

from intact.errors import IntegrityError

WINDOW_BYTES: Final = 2**20
"""Largest window that memory is taken for."""
SMALL_BYTES: Final = 2**14
"""Up to this size, codes are compressed as well as can be, since that takes no time."""
BEST_LEVEL: Final = 19
SEARCH_LEVEL: Final = 9
TEXT_LEVEL: Final = 12
REPEATS: Final = 0.9
"""What a search for repetitions must leave of the first bytes, to be made in all of them."""
LITERALS: Final = zstandard.ZstdCompressionParameters(
    compression_level=1,
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    strategy=zstandard.STRATEGY_FAST,
)
"""Codes of weights have few repetitions worth their room, so large pieces are hardly searched for any: what is left is
Huffman's code, which is written and read fastest without them."""

_held = local()


def compress_codes(data: bytes) -> bytes:
    """Return codes of weights as a frame."""
    if len(data) <= SMALL_BYTES:
        return _compress(data, zstandard.ZstdCompressionParameters.from_level(BEST_LEVEL))
    few = data[:SMALL_BYTES]
    searched = zstandard.ZstdCompressionParameters.from_level(SEARCH_LEVEL, window_log=20)
    if len(_compress(few, searched)) < REPEATS * len(_compress(few, LITERALS)):
        return _compress(data, searched)
    return _compress(data, LITERALS)


def compress_text(data: bytes) -> bytes:
    """Return a text as a frame."""
    return _compress(data, zstandard.ZstdCompressionParameters.from_level(TEXT_LEVEL, window_log=20))


def _compress(data: bytes, settings: zstandard.ZstdCompressionParameters) -> bytes:
    return bytes(zstandard.ZstdCompressor(compression_params=settings).compress(data))


def content_size(frame: memoryview) -> int:
    """Return the size that a frame declares for its content; -1 where it declares none, or is none."""
    try:
        return int(zstandard.frame_content_size(frame))
    except zstandard.ZstdError:
        return -1


def decompress(frame: memoryview, size: int) -> bytes:
    """Return the content of a frame whose `content_size` is `size`: the caller has checked that this may be allocated.

    Raises:
        IntegrityError: It is no such frame, or something follows it.
    """
    if not hasattr(_held, "decompressor"):  # one a thread
        _held.decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    try:
        content = bytes(_held.decompressor.decompress(frame, allow_extra_data=False))
    except zstandard.ZstdError as error:
        raise IntegrityError("what should be a Zstandard frame is none") from error
    if len(content) != size:
        raise IntegrityError(f"a Zstandard frame holds {len(content)} bytes, and says {size}")
    return content
