"""JSON, unless it describes a model whose layers or classes are code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from intact.scan.blob import Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format

MAX_BYTES: Final = 2**25
"""What is longer is not parsed: it could take a hundred times its size in memory."""
AUTO_MAP: Final = "auto_map"
"""Where the transformers library looks up classes to import from the model's own folder."""


def recognise(blob: Blob) -> bool:
    """An object or a list that parses; of what is too large to be parsed, its first letter."""
    if blob.read(0, 256).lstrip()[:1] not in (b"{", b"["):
        return False
    if blob.size > MAX_BYTES:
        return True
    try:
        json.loads(blob.read(0, blob.size))
    except (ValueError, RecursionError):
        return False
    return True


def examine(blob: Blob, folder: Path | None) -> Examined:
    """No Lambda layer of Keras, no class to be imported from a file."""
    if blob.size > MAX_BYTES:
        told = f"JSON of {blob.size} bytes, more than the {MAX_BYTES} that are looked through"
        return Examined(findings=(Finding(kind="structure", told=told),))
    findings = []
    for item in _objects(json.loads(blob.read(0, blob.size))):
        if item.get("class_name") == "Lambda":
            findings.append(
                Finding(kind="code", told="a Lambda layer of Keras: reading the model runs its Python code")
            )
        if AUTO_MAP in item:
            told = f"'{AUTO_MAP}': whoever trusts it imports Python code from the model's folder"
            findings.append(Finding(kind="code", told=told))
    return Examined(findings=tuple(dict.fromkeys(findings)))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value, at any depth."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            yield item
            left += item.values()
        elif isinstance(item, list):
            left += item


FORMAT = Format(name="JSON", rank=5, text=True, recognise=recognise, examine=examine)
