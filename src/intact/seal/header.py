"""The private description of an artifact: what the tensors are called and are, the graph, private metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from intact.errors import IntegrityError, UsageError
from intact.wire import decode, encode, from_json, to_json

LIMIT_BYTES: Final = 2**26
"""Longest JSON of a header; the graph comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor as the program knows it.

    Args:
        name: Name of the initializer in the graph.
        dtype: safetensors type of the plaintext.
        shape: Extents of the plaintext.
        sha256: Digest of the plaintext bytes. Opening need not check it: the signed ciphertext and the committed key
            leave one plaintext only. It is there to compare two builds, and to rekey, without trust in between.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The description itself; `to_bytes` is the plaintext of header.enc.

    Args:
        tensors: In file order; number i describes tensor i of weights.safetensors.
        metadata: Private metadata.
        card_sha256: Digest of the canonical card, so that an unsigned artifact's card is bound to its key too.
        lineage_sha256: Digest of lineage.json, likewise.
    """

    tensors: tuple[TensorSpec, ...]
    metadata: Mapping[str, Any]
    card_sha256: str
    lineage_sha256: str

    def to_bytes(self, graph: bytes) -> bytes:
        """Return the canonical JSON of this record, a line feed, and `graph`; equal values give equal bytes.

        Raises:
            UsageError: The metadata hold what JSON cannot, or too much of it.
        """
        text = encode(to_json(self))
        if len(text) > LIMIT_BYTES:
            raise UsageError(f"header has {len(text)} bytes of metadata, {LIMIT_BYTES} are allowed")
        return text + b"\n" + graph


def split(data: bytes | bytearray) -> tuple[Header, bytes]:
    """Return the record and the graph that `Header.to_bytes` joined.

    Raises:
        IntegrityError: `data` is nothing that `Header.to_bytes` returns.
    """
    text, newline, graph = bytes(data).partition(b"\n")
    if not newline:
        raise IntegrityError("header has no graph")
    value = decode(text, where="header", limit_bytes=LIMIT_BYTES)
    header = from_json(Header, value, where="header")
    names = {tensor.name for tensor in header.tensors}
    if len(names) != len(header.tensors):
        raise IntegrityError("header names two tensors alike")
    return header, graph
