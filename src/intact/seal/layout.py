"""What lies where in an artifact: file names, size limits, tensor types, the safetensors index, digest segments."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np

from intact.crypto.chunked import PREFIX_BYTES, WIRE_CHUNK_BYTES
from intact.errors import IntegrityError
from intact.wire import encode

WEIGHTS: Final = "weights.safetensors"
MANIFEST: Final = "manifest.json"
LINEAGE: Final = "lineage.json"
HEADER_SEALED: Final = "header.enc"
HEADER_PLAIN: Final = "header.bin"
KEYS: Final = "keys.json"
SIGNATURE: Final = "model.sig"
COUNTERSIGNATURES: Final = "countersignatures.json"

LIMITS: Final = {
    WEIGHTS: 2**42,
    MANIFEST: 2**26,
    LINEAGE: 2**24,
    HEADER_SEALED: 2**31,
    HEADER_PLAIN: 2**31,
    KEYS: 2**20,
    SIGNATURE: 2**16,
    COUNTERSIGNATURES: 2**20,
}
"""Every file an artifact may hold, with the most bytes it may have."""

FEW_VALUES: Final = 2**18
BYTES_A_VALUE: Final = 16
"""What manifest.json and lineage.json may hold: so many values, and one more for so many bytes. A tensor needs nine in
118 bytes or more, so that `MAX_TENSORS` of them fit with any number of digests."""

SIGNATURES: Final = (SIGNATURE, COUNTERSIGNATURES)
UNSIGNED: Final = frozenset({KEYS, SIGNATURE, COUNTERSIGNATURES})
"""Files that no signature covers."""
MOST_COUNTERSIGNATURES: Final = 15

MAX_TENSORS: Final = 2**16
MAX_RANK: Final = 32
MAX_EXTENT: Final = 2**42

SEGMENT_CHUNKS: Final = 64
SEGMENT_BYTES: Final = SEGMENT_CHUNKS * WIRE_CHUNK_BYTES
"""Bytes under one digest: 64 chunks, about 1 MiB, so that a segment is in cache from its digest to its decryption."""

DTYPES: Final = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
"""Tensor types by their safetensors name."""

NIBBLES: Final = {"I4": np.dtype(ml_dtypes.int4), "U4": np.dtype(ml_dtypes.uint4)}
"""Types that a program may hold and safetensors does not know: one element a byte, in its lower half."""

TENSOR_DTYPES: Final = {**DTYPES, **NIBBLES}
"""Every type that a tensor may have before it is stored."""

_HEX_256 = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether `text` is a digest of 256 bits: 64 lower-case hex digits."""
    return isinstance(text, str) and _HEX_256.fullmatch(text) is not None


def most_values(size_bytes: int) -> int:
    """Return how many values manifest.json or lineage.json of this size may hold, as `wire.count_values` counts."""
    return FEW_VALUES + size_bytes // BYTES_A_VALUE


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """Return the name of `dtype`, whatever its byte order, or None when an artifact cannot hold it."""
    return next((name for name, known in TENSOR_DTYPES.items() if known == dtype.newbyteorder("<")), None)


def nbytes(dtype: str, shape: Sequence[int], where: str) -> int:
    """Return the size of a tensor, nibbles taking a byte each.

    Raises:
        IntegrityError: The type is unknown, or the shape has more than 32 axes, a negative one, or more elements than
            any file this format can hold.
    """
    if dtype not in TENSOR_DTYPES:
        raise IntegrityError(f"{where} has unknown type {dtype!a}")
    if len(shape) > MAX_RANK or any(extent < 0 for extent in shape):
        raise IntegrityError(f"{where} has an impossible shape")
    if math.prod(extent for extent in shape if extent) > MAX_EXTENT:
        raise IntegrityError(f"{where} has a shape beyond 2^42 elements")
    return int(TENSOR_DTYPES[dtype].itemsize) * math.prod(shape)


def index(tensors: Sequence[tuple[str, Sequence[int]]]) -> bytes:
    """Return the head of weights.safetensors for (dtype, shape) in file order: an eight-byte length and the JSON index.

    Tensors are called t00000, t00001, ... and lie back to back. The JSON is canonical, padded with spaces to a
    multiple of eight bytes.
    """
    entries, start = {}, 0
    for number, (dtype, shape) in enumerate(tensors):
        name = f"t{number:05d}"
        end = start + nbytes(dtype, shape, name)
        entries[name] = {"data_offsets": [start, end], "dtype": dtype, "shape": list(shape)}
        start = end
    text = encode(entries)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def segment_count(size_bytes: int, *, sealed: bool) -> int:
    """Return how many pieces `segments` yields."""
    if size_bytes == 0:
        return 0
    return max(1, -(-(size_bytes - (PREFIX_BYTES if sealed else 0)) // SEGMENT_BYTES))


def segments(size_bytes: int, *, sealed: bool) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each digest segment of a tensor's bytes in the file.

    A sealed tensor's first segment also holds its 56-byte prefix, so that segments end where chunks end.
    """
    start, end = 0, SEGMENT_BYTES + (PREFIX_BYTES if sealed else 0)
    while start < size_bytes:
        yield start, min(end, size_bytes)
        start, end = end, end + SEGMENT_BYTES
