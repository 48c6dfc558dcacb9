"""NumPy's .npy: a dict literal, and one array. With the dtype "object" the array is a pickle."""

from __future__ import annotations

import ast
import math
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

from intact.scan.blob import Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format

MAGIC: Final = b"\x93NUMPY"
MAX_HEADER: Final = 10_000
"""NumPy's own limit: longer literals can exhaust its parser."""
LENGTHS: Final = {1: "<H", 2: "<I", 3: "<I"}


def recognise(blob: Blob) -> bool:
    """The magic number."""
    return blob.read(0, len(MAGIC)) == MAGIC


def examine(blob: Blob, folder: Path | None) -> Examined:
    """No objects, and as many bytes as dtype and shape say."""
    version = blob.read(6, 1)
    code = LENGTHS.get(version[0]) if version else None
    if code is None:
        return _refused("structure", "a header of a version that is not known")
    begin = 8 + struct.calcsize(code)
    words = blob.read(8, begin - 8)
    length = struct.unpack(code, words)[0] if len(words) == begin - 8 else MAX_HEADER + 1
    if length > MAX_HEADER:
        return _refused("structure", f"a header that is cut off, or longer than {MAX_HEADER} bytes")
    try:
        header = ast.literal_eval(blob.read(begin, length).decode("utf-8" if version[0] == 3 else "latin-1").strip())
        dtype, count = np.lib.format.descr_to_dtype(header["descr"]), _count(header["shape"])
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, RecursionError, MemoryError):
        return _refused("structure", "a header that is not as the format has it")
    if dtype.hasobject:
        return _refused("pickle", "an array of Python objects, which is a pickle: reading it can run any code")
    if blob.size != begin + length + count * dtype.itemsize:
        return _refused("structure", "another number of bytes than dtype and shape say")
    return Examined()


def _count(shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError
    return math.prod(shape)


def _refused(kind: str, told: str) -> Examined:
    return Examined(findings=(Finding(kind=kind, told=told),))


FORMAT = Format(name="npy", rank=2, recognise=recognise, examine=examine)
