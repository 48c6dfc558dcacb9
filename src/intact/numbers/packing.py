"""Dense storage of codes of 1 to 8 bits, in planes of bits.

Codes of b bits are cut into planes of 4, 2 and 1 bits, the high bits first: 7 = 4 + 2 + 1, 6 = 4 + 2, 5 = 4 + 1,
3 = 2 + 1; 8 bits are one plane. Codes are padded with zeros to n, a multiple of eight. A plane of w bits takes n*w/8
bytes; its byte i holds code i in the lowest w bits, code i + n*w/8 in the next w, and so on. So neighbouring bytes
never share a code, and a whole vector of them is taken apart at once.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError, UsageError

Bytes: TypeAlias = NDArray[np.uint8]

PLANES: Final = {1: (1,), 2: (2,), 3: (2, 1), 4: (4,), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1), 8: (8,)}
"""Widths of the planes of a code, by its bits, the high bits first."""
OCTET: Final = 8


def padded(count: int) -> int:
    """Return `count` rounded up to whole octets."""
    return -(-count // OCTET) * OCTET


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that `count` codes of `bits` take.

    Raises:
        UsageError: The width is not 1 to 8, or the count is negative.
    """
    if bits not in PLANES:
        raise UsageError(f"codes have {bits} bits, wanted 1 to 8")
    if count < 0:
        raise UsageError(f"count is {count}, wanted 0 or more")
    return padded(count) // OCTET * bits


def pack(codes: NDArray[Any], bits: int) -> bytes:
    """Write the codes, in C order, as planes of bits.

    Args:
        codes: Integers from 0 to 2^bits - 1, any shape.
        bits: Width, 1 to 8.

    Returns:
        `packed_size(codes.size, bits)` bytes.

    Raises:
        UsageError: A code does not fit, or the width is out of range.
    """
    size = packed_size(codes.size, bits)
    if codes.dtype.kind not in "iu":
        raise UsageError(f"codes have type {codes.dtype}, wanted integers")
    if codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
        raise UsageError(f"codes {codes.min()} to {codes.max()} do not fit {bits} bits")
    octets = np.zeros(padded(codes.size), np.uint8)
    octets[: codes.size] = codes.reshape(-1)
    stream, start, below = np.zeros(size, np.uint8), 0, bits
    for width in PLANES[bits]:
        below -= width
        part = (octets >> np.uint8(below)) & np.uint8((1 << width) - 1)
        stop = start + len(octets) * width // OCTET
        for place, slot in enumerate(part.reshape(OCTET // width, -1)):
            stream[start:stop] |= slot * np.uint8(1 << place * width)
        start = stop
    return stream.tobytes()


def unpack(data: Any, bits: int, count: int) -> Bytes:
    """Read `count` codes of `bits` back; the inverse of `pack`.

    Args:
        data: Bytes or a buffer of them.
        bits: Width, 1 to 8.
        count: Number of codes.

    Returns:
        Codes, uint8, shape (count,).

    Raises:
        IntegrityError: The data are longer or shorter than `count` codes, or codes after the last are not zero.
        UsageError: The width or the count is out of range.
    """
    size, length = packed_size(count, bits), padded(count)
    stream = np.frombuffer(data, np.uint8)
    if len(stream) != size:
        raise IntegrityError(f"packed codes take {len(stream)} bytes, wanted {size} for {count} codes of {bits} bits")
    codes = np.empty(length, np.uint8)
    plane = np.empty(length, np.uint8) if len(PLANES[bits]) > 1 else codes
    start = 0
    for width in PLANES[bits]:
        stop = start + length * width // OCTET
        _spread(stream[start:stop], width, codes if start == 0 else plane)
        if start:
            np.multiply(codes, np.uint8(1 << width), out=codes)  # numpy has no fast shift to the left
            np.bitwise_or(codes, plane, out=codes)
        start = stop
    if codes[count:].any():
        raise IntegrityError("codes after the last are not zero")
    return codes[:count]


def _spread(plane: Bytes, width: int, out: Bytes) -> None:
    """Write the codes of one plane to `out`, one a byte."""
    if width == OCTET:
        np.copyto(out, plane)
        return
    mask = np.uint8((1 << width) - 1)
    for place, slot in enumerate(out.reshape(OCTET // width, -1)):
        np.right_shift(plane, np.uint8(place * width), out=slot)
        np.bitwise_and(slot, mask, out=slot)
