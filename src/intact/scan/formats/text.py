"""Text: TOML, CSV, a licence, a read-me. Not a script, and no YAML that makes Python objects."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from intact.scan.blob import WINDOW, Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format

CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
YAML_PYTHON: Final = re.compile(r"!!python/|!![A-Za-z]{0,6}%[0-9A-Fa-f]{2}|(?<!\w)!<|%TAG|tag:yaml\.org")
"""Tags of YAML that make Python objects: written out, escaped, and as whole names or under another handle."""
KEPT: Final = 32
"""Characters of a window that are looked at with the next: more than such a tag needs."""


def recognise(blob: Blob) -> bool:
    """UTF-8 without control characters."""
    try:
        return all(CONTROL.search(text) is None for text in _texts(blob))
    except UnicodeDecodeError:
        return False


def examine(blob: Blob, folder: Path | None) -> Examined:
    """No interpreter named in the first line, no tag of Python's."""
    if blob.read(0, 2) == b"#!":
        return _refused("a script: its first line names the program that runs it")
    before = ""
    for text in _texts(blob):
        text = before + text
        found = YAML_PYTHON.search(text)
        if found is not None:
            return _refused(f"'{found[0]}': reading it as YAML can run any code")
        before = text[-KEPT:]
    return Examined()


def _texts(blob: Blob) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, blob.size, WINDOW):
        data = blob.read(start, WINDOW)
        yield decoder.decode(data, final=start + WINDOW >= blob.size)


def _refused(told: str) -> Examined:
    return Examined(findings=(Finding(kind="code", told=told),))


FORMAT = Format(name="text", rank=9, text=True, recognise=recognise, examine=examine)
