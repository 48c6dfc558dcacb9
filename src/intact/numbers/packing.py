"""Dense storage of codes of 2 to 8 bits.

Code i of width b takes the bits i*b to (i+1)*b - 1 of the stream; bit k of the stream is bit k mod 8, counted from the
least significant, of byte k // 8. Signed codes are two's complement. Bits after the last code are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntegrityError, UsageError

OCTET = 8  # eight codes of b bits fill exactly b bytes, and fit one 64-bit word


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that `count` codes of `bits` take.

    Raises:
        UsageError: The width is not 2 to 8, or the count is negative.
    """
    if not 2 <= bits <= 8:
        raise UsageError(f"codes have {bits} bits, wanted 2 to 8")
    if count < 0:
        raise UsageError(f"count is {count}, wanted 0 or more")
    return (count * bits + 7) // 8


def pack(codes: NDArray[np.integer], bits: int, *, signed: bool) -> bytes:
    """Write the codes, in C order, as a dense bit stream.

    Args:
        codes: Integers of `bits` bits, any shape.
        bits: Width, 2 to 8.
        signed: Codes from -2^(bits-1) to 2^(bits-1) - 1, or from 0 to 2^bits - 1.

    Returns:
        `packed_size(codes.size, bits)` bytes.

    Raises:
        UsageError: A code does not fit, or the width is out of range.
    """
    size = packed_size(codes.size, bits)
    low = -(1 << (bits - 1)) if signed else 0
    if codes.dtype.kind not in "iu":
        raise UsageError(f"codes have type {codes.dtype}, wanted integers")
    if codes.size and (codes.min() < low or codes.max() >= low + (1 << bits)):
        raise UsageError(
            f"codes {codes.min()} to {codes.max()} do not fit {bits} {'signed' if signed else 'unsigned'} bits"
        )
    octets = np.zeros((-(-codes.size // OCTET), OCTET), dtype=np.uint8)
    octets.reshape(-1)[: codes.size] = codes.reshape(-1).astype(np.uint8) & np.uint8((1 << bits) - 1)
    words = np.zeros(len(octets), dtype="<u8")
    for place in range(OCTET):
        words |= octets[:, place].astype("<u8") << np.uint64(place * bits)
    stream = words.view(np.uint8).reshape(-1, OCTET)[:, :bits]
    return stream.tobytes()[:size]


def unpack(data: bytes | memoryview, bits: int, count: int, *, signed: bool) -> NDArray[Any]:
    """Read `count` codes of `bits` back; the inverse of `pack`.

    Returns:
        Codes, int8 or uint8, shape (count,).

    Raises:
        IntegrityError: The data are longer or shorter than `count` codes, or bits after the last code are set.
        UsageError: The width or the count is out of range.
    """
    size = packed_size(count, bits)
    stream = np.frombuffer(data, dtype=np.uint8)
    if len(stream) != size:
        raise IntegrityError(f"packed codes take {len(stream)} bytes, wanted {size} for {count} codes of {bits} bits")
    octets = np.zeros((-(-count // OCTET), bits), dtype=np.uint8)
    octets.reshape(-1)[:size] = stream
    raw = np.zeros((len(octets), 8), dtype=np.uint8)
    raw[:, :bits] = octets
    words = raw.view("<u8").reshape(-1)
    codes = np.empty((len(words), OCTET), dtype=np.uint8)
    mask = np.uint64((1 << bits) - 1)
    for place in range(OCTET):
        codes[:, place] = (words >> np.uint64(place * bits)) & mask
    flat = codes.reshape(-1)
    if flat[count:].any():
        raise IntegrityError("bits after the last packed code are set, wanted zeros")
    if not signed:
        return flat[:count]
    sign = np.uint8(1 << (bits - 1))
    return ((flat[:count] ^ sign) - sign).view(np.int8)
