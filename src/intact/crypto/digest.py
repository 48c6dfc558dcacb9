"""Digests of bytes and files, in lower-case hex."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from blake3 import blake3 as _blake3

from intact.crypto.buffer import Buffer


def sha256(data: Buffer) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits; releases the GIL while it works."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, read in pieces so that its size does not matter."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blake3(data: Buffer) -> str:
    """Return the BLAKE3 of `data` as 64 lower-case hex digits; releases the GIL while it works.

    Source:
        O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020, "BLAKE3", section 2.
    """
    return _blake3(data).hexdigest()


class Hasher(Protocol):
    """A digest of bytes that come in pieces."""

    def update(self, data: Buffer, /) -> object:
        """Take the next piece."""

    def hexdigest(self) -> str:
        """Return the digest of all pieces so far in lower-case hex."""


HASHERS: Final[Mapping[str, Callable[[], Hasher]]] = {"blake3": _blake3, "sha256": hashlib.sha256}
"""What begins a digest, by the name of its algorithm; all of 256 bits."""
