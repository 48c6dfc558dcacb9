"""Digests of bytes and files, in lower-case hex."""

from __future__ import annotations

import hashlib
from pathlib import Path

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


class Blake3:
    """BLAKE3 of bytes that come in pieces."""

    def __init__(self) -> None:
        self._hasher = _blake3()

    def update(self, data: Buffer) -> None:
        """Take the next piece."""
        self._hasher.update(data)

    def hexdigest(self) -> str:
        """Return the digest of all pieces so far as 64 lower-case hex digits."""
        return self._hasher.hexdigest()
