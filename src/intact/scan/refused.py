"""What is not let through, by its content: enough of each to say what it is and what it could do."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final

import zstandard

from intact.scan import pickles
from intact.scan.blob import WINDOW, Blob, of_bytes
from intact.scan.findings import Finding
from intact.scan.protobuf import BYTES, VARINT, Malformed, fields

MAX_FIELDS: Final = 10_000
PEEK: Final = 2**20
"""Bytes of something compressed that are looked at."""
EXPORT: Final = "not a format to build from: export the model to ONNX"
TENSORFLOW_CODE: Final = (b"EagerPyFunc", b"PyFuncStateless", b"PyFunc", b"ReadFile", b"WriteFile")
HDF5: Final = b"\x89HDF\r\n\x1a\n"
LAMBDA: Final = b'"Lambda"'
TEMPLATE: Final = b"tokenizer.chat_template"

PLAIN: Final = (
    (0, b"\x7fELF", "code", "a program or library for Linux"),
    (0, b"MZ", "code", "a program or library for Windows"),
    (0, b"\xcf\xfa\xed\xfe", "code", "a program or library for macOS"),
    (0, b"\xca\xfe\xba\xbe", "code", "a program for macOS or Java"),
    (0, b"\0asm", "code", "a WebAssembly program"),
    (257, b"ustar", "archive", "a tar archive: unpack it and scan the folder"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive", "a 7z archive: unpack it and scan the folder"),
    (0, b"Rar!\x1a\x07", "archive", "a RAR archive: unpack it and scan the folder"),
    (0, b"\x04\x22\x4d\x18", "archive", "data compressed with LZ4: decompress them and scan what comes out"),
    (4, b"TFL3", "unknown", f"a TensorFlow Lite model, {EXPORT}"),
    (0, b"ARROW1", "unknown", "an Arrow file: write Parquet or .npz"),
)
"""Formats known by a magic number: where it stands, itself, kind of finding, what to say."""


def tell(blob: Blob) -> tuple[str, list[Finding]]:
    """Return what `blob` is as far as one can tell, and why it is not let through."""
    for name, look in LOOKS:
        found = look(blob)
        if found:
            return name, found
    for place, magic, kind, told in PLAIN:
        if blob.read(place, len(magic)) == magic:
            return "unknown", [Finding(kind=kind, told=told)]
    told = "nothing on the allow-list: neither ONNX, safetensors, .npz, .npy, Parquet, JSON nor text"
    return "unknown", [Finding(kind="unknown", told=told)]


def hdf5(blob: Blob, most: int = 2**21) -> list[Finding]:
    """HDF5 may begin at 0, 512, 1024, and so on, here below `most`; Keras keeps its layers as JSON inside."""
    places = [0, *(512 * 2**step for step in range(most.bit_length()))]
    if not any(blob.read(place, len(HDF5)) == HDF5 for place in places if place < most):
        return []
    found = [Finding(kind="unknown", told=f"an HDF5 file, as Keras writes them, {EXPORT}")]
    if blob.find(LAMBDA) >= 0:
        told = "a Lambda layer of Keras: reading the model runs its Python code"
        return [Finding(kind="code", told=told), *found]
    return found


def _gguf(blob: Blob) -> list[Finding]:
    if blob.read(0, 4) != b"GGUF":
        return []
    found = [Finding(kind="unknown", told=f"a GGUF file, {EXPORT}")]
    if blob.find(TEMPLATE, 2**26) >= 0:
        told = "a chat template: a Jinja program, which whoever chats with the model runs"
        return [Finding(kind="code", told=told), *found]
    return found


def _saved_model(blob: Blob) -> list[Finding]:
    """TensorFlow's SavedModel: a version and graphs, and nothing else."""
    kinds = set()
    try:
        for number, each in enumerate(fields(blob, 0, blob.size)):
            kinds.add((each.number, each.wire))
            if len(kinds) > 2 or number > MAX_FIELDS:
                return []
    except Malformed:
        return []
    if kinds != {(1, VARINT), (2, BYTES)}:
        return []
    names = [word for word in TENSORFLOW_CODE if blob.find(word) >= 0]
    found = [Finding(kind="unknown", told=f"a TensorFlow SavedModel, {EXPORT}")]
    if names:
        told = f"operators that run Python code or touch files: {', '.join(name.decode() for name in names)}"
        return [Finding(kind="code", told=told), *found]
    return found


def _compressed(blob: Blob) -> list[Finding]:
    """Something compressed, as joblib and others wrap pickles: its beginning is looked at."""
    head = blob.read(0, WINDOW)
    for magic, name, expand in COMPRESSED:
        if not head.startswith(magic):
            continue
        inside = expand(head)
        if inside is None:
            continue
        found = [Finding(kind="archive", told=f"data compressed with {name}: decompress them and scan what comes out")]
        walk = pickles.walk(of_bytes(inside, size=len(inside) + (len(inside) == PEEK)))
        if walk.loads:
            return [Finding(kind="pickle", told=walk.tell(), inside=f"({name})"), *found]
        return found
    return []


def _expanded(make: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Callable[[bytes], bytes | None]:
    """Return a function that decompresses up to `PEEK` bytes; None where the data are not compressed so."""

    def expand(data: bytes) -> bytes | None:
        try:
            return bytes(make().decompress(data, PEEK))
        except errors:
            return None

    return expand


def _zstandard(data: bytes) -> bytes | None:
    try:
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data) as reader:
            return bytes(reader.read(PEEK))
    except zstandard.ZstdError:
        return None


COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip", _expanded(lambda: zlib.decompressobj(31), (zlib.error, gzip.BadGzipFile))),
    (b"BZh", "bzip2", _expanded(bz2.BZ2Decompressor, (OSError, ValueError, EOFError))),
    (b"\xfd7zXZ\0", "xz", _expanded(lambda: lzma.LZMADecompressor(memlimit=2**28), (lzma.LZMAError, EOFError))),
    (b"\x28\xb5\x2f\xfd", "Zstandard", _zstandard),
    (b"x", "zlib", _expanded(zlib.decompressobj, (zlib.error,))),
)
LOOKS: Final = (
    ("HDF5", hdf5),
    ("GGUF", _gguf),
    ("SavedModel", _saved_model),
    ("compressed", _compressed),
)
