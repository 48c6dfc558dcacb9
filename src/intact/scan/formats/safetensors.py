"""safetensors: an index in JSON, and the tensors' bytes back to back."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from intact.scan.blob import Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format

MAX_INDEX: Final = 2**25
"""Longest index that is read; more than 100,000 tensors need."""
METADATA: Final = "__metadata__"


def recognise(blob: Blob) -> bool:
    """An eight-byte length that fits, and then an object."""
    head = blob.read(0, 9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] <= blob.size - 8


def examine(blob: Blob, folder: Path | None) -> Examined:
    """The index must account for every byte: what lies between or after tensors could be anything."""
    (length,) = struct.unpack("<Q", blob.read(0, 8))
    if length > MAX_INDEX:
        return _refused(f"an index of {length} bytes, more than the {MAX_INDEX} allowed")
    try:
        index = json.loads(blob.read(8, length))
        spans = sorted(_span(entry) for name, entry in index.items() if name != METADATA)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return _refused("an index that is not as the format has it")
    ends = [(0, 0), *spans, (blob.size - 8 - length,) * 2]
    if any(one[1] != next_one[0] for one, next_one in pairwise(ends)):
        return _refused("bytes that belong to no tensor, or to two")
    return Examined()


def _span(entry: Any) -> tuple[int, int]:
    start, end = entry["data_offsets"]
    if not (type(start) is type(end) is int and 0 <= start <= end and isinstance(entry["dtype"], str)):
        raise ValueError
    return start, end


def _refused(told: str) -> Examined:
    return Examined(findings=(Finding(kind="structure", told=told),))


FORMAT = Format(name="safetensors", rank=1, recognise=recognise, examine=examine)
