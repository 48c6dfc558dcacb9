"""The private description of an artifact: what the tensors are called and are, the graph, private metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from intact.errors import IntegrityError, UsageError
from intact.numbers import storage
from intact.numbers.storage.form import MAX_RATIO
from intact.numbers.storage.frame import compress_text, content_size, decompress
from intact.seal import layout
from intact.wire import decode, encode, from_json, to_json

LIMIT_BYTES: Final = 2**26
"""Longest JSON of a header; the graph comes on top."""
OPEN_BRACE: Final = b"{"
"""What a header begins with that is not compressed, as no Zstandard frame does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor as the program knows it.

    Args:
        name: Name of the initializer in the graph.
        dtype: Type of its elements, one of `layout.TENSOR_DTYPES`.
        shape: Its extents.
        blake3: Digest of its bytes, before they are stored in a form. Opening need not check it: the signed ciphertext
            and the committed key leave one plaintext only. It is there to compare two builds, and for `rekey`, which
            holds what it stores anew against it.
        form: How it is stored: "raw", or a form of `intact.numbers.storage`.
        parameters: What that form needs to know.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    blake3: str
    form: str
    parameters: Mapping[str, int]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor, before it is stored in a form."""
        return layout.nbytes(self.dtype, self.shape, "tensor in the header")

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(layout.TENSOR_DTYPES[self.dtype].itemsize)

    def check(self, stored_bytes: int) -> None:
        """Check, before anything is allocated, that the tensor can be what `stored_bytes` bytes hold.

        Raises:
            IntegrityError: Type, shape, form or parameters are impossible, or need another size.
        """
        layout.nbytes(self.dtype, self.shape, "tensor in the header")
        storage.check_size(self.form, self.parameters, self.shape, self.itemsize, stored_bytes)

    def file_kind(self, stored_bytes: int) -> tuple[str, tuple[int, ...]]:
        """Return dtype and shape in weights.safetensors of a plain artifact: its own where the file can say so."""
        if self.form == storage.RAW and self.dtype in layout.DTYPES:
            return self.dtype, self.shape
        return "U8", (stored_bytes,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The description itself; `to_bytes` is the plaintext of header.enc.

    Args:
        tensors: In file order; number i describes tensor i of weights.safetensors.
        metadata: Private metadata.
        card_blake3: Digest of the canonical card, so that an unsigned artifact's card is bound to its key too.
        lineage_blake3: Digest of lineage.json, likewise.
        policy_blake3: Digest of the canonical policy, likewise.
    """

    tensors: tuple[TensorSpec, ...]
    metadata: Mapping[str, Any]
    card_blake3: str
    lineage_blake3: str
    policy_blake3: str

    def to_bytes(self, graph: bytes) -> bytes:
        """Return the canonical JSON of this record, a line feed, and `graph`, as a frame where that is smaller.

        Equal values give equal bytes.

        Raises:
            UsageError: The metadata hold what JSON cannot, or too much of it.
        """
        text = encode(to_json(self))
        if len(text) > LIMIT_BYTES:
            raise UsageError(f"header has {len(text)} bytes of metadata, {LIMIT_BYTES} are allowed")
        plain = text + b"\n" + graph
        frame = compress_text(plain)
        return frame if len(frame) < len(plain) <= MAX_RATIO * len(frame) else plain


def split(data: bytes | bytearray) -> tuple[Header, bytes]:
    """Return the record and the graph that `Header.to_bytes` joined.

    Raises:
        IntegrityError: `data` is nothing that `Header.to_bytes` returns.
    """
    text, newline, graph = _expand(memoryview(data)).partition(b"\n")
    if not newline:
        raise IntegrityError("header has no graph")
    value = decode(text, where="header", limit_bytes=LIMIT_BYTES)
    header = from_json(Header, value, where="header")
    names = {tensor.name for tensor in header.tensors}
    if len(names) != len(header.tensors):
        raise IntegrityError("header names two tensors alike")
    return header, graph


def _expand(data: memoryview) -> bytes:
    """Return `data`, or what they hold where they are a frame.

    Raises:
        IntegrityError: They are neither, or hold more than a header may.
    """
    if bytes(data[:1]) == OPEN_BRACE:
        return bytes(data)
    size = content_size(data)
    if not 0 < size <= min(layout.LIMITS[layout.HEADER_PLAIN], MAX_RATIO * len(data)):
        raise IntegrityError(f"header of {len(data)} bytes holds {size}, more than it may, or is none")
    return decompress(data, size)
