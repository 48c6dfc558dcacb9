"""SHA-256 of bytes and files, in lower-case hex."""

from __future__ import annotations

import hashlib
from pathlib import Path

from intact.crypto.buffer import Buffer

SHA256_HEX_CHARS = 64


def sha256(data: Buffer) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits; releases the GIL while it works."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, read in pieces so that its size does not matter."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
