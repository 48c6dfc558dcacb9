"""Parquet: columns, and at the end what they are. Arrow may keep pickles in what it says of an extension type."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Final

from intact.scan.blob import Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format

MAGIC: Final = b"PAR1"
MAX_FOOTER: Final = 2**26
EXTENSION: Final = b"arrow.py_extension_type"
"""Older readers unpickle what follows it (CVE-2023-47248)."""


def recognise(blob: Blob) -> bool:
    """The magic number at both ends."""
    return blob.size >= 12 and blob.read(0, 4) == blob.read(blob.size - 4, 4) == MAGIC


def examine(blob: Blob, folder: Path | None) -> Examined:
    """A footer that fits and names no Python type."""
    (length,) = struct.unpack("<I", blob.read(blob.size - 8, 4))
    if length > min(MAX_FOOTER, blob.size - 12):
        return Examined(findings=(Finding(kind="structure", told=f"a footer of {length} bytes, which does not fit"),))
    footer = blob.read(blob.size - 8 - length, length)
    if any(word in footer for word in (EXTENSION, *_in_base64(EXTENSION))):
        told = "an extension type of Python's, which older readers unpickle: reading it can run any code"
        return Examined(findings=(Finding(kind="pickle", told=told),))
    return Examined()


def _in_base64(word: bytes) -> list[bytes]:
    """What base64 makes of a text with `word` in it, whatever stands before and after."""
    found = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + word).rstrip(b"=")
        first, last = -(-8 * before // 6), (8 * (before + len(word))) // 6
        found.append(text[first:last])
    return found


FORMAT = Format(name="Parquet", rank=4, recognise=recognise, examine=examine)
