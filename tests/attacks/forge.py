"""What an attacker may do to an artifact: rewrite any file, recompute any digest, sign with a key of their own."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intact.crypto import Secret, SigningKey, blake3, sha256
from intact.seal import layout, signing, statement
from intact.seal.header import split
from intact.seal.manifest import Manifest
from intact.seal.recipient import Identity
from intact.seal.wrapping import KeyFile
from intact.wire import decode, encode, to_json


def load(path: Path) -> Any:
    """Return the manifest of the artifact at `path` as JSON."""
    return decode((path / "manifest.json").read_bytes(), where="manifest")


def store(path: Path, manifest: Any) -> None:
    """Replace the manifest, whatever the signature says."""
    (path / "manifest.json").write_bytes(encode(manifest))


def fix_digests(path: Path) -> None:
    """Make every digest in the manifest true of the files that are there."""
    manifest = load(path)
    parsed = Manifest.from_bytes(encode(manifest))
    for key, name in [("header", parsed.header_name), ("lineage", "lineage.json")]:
        data = (path / name).read_bytes()
        manifest[key] = {"size": len(data), "blake3": blake3(data)}
    weights, start = (path / "weights.safetensors").read_bytes(), len(parsed.index)
    for number, entry in enumerate(parsed.tensors):
        size = layout.nbytes(entry.dtype, entry.shape, "tensor")
        data = weights[start : start + size]
        spans = layout.segments(size, sealed=parsed.sealed)
        manifest["tensors"][number]["segments"] = [blake3(data[begin:end]) for begin, end in spans]
        start += size
    store(path, manifest)


def load_header(path: Path) -> tuple[Any, bytes]:
    """Return the description, as JSON, and the graph in the header of a plain artifact."""
    header, graph = split((path / "header.bin").read_bytes())
    return to_json(header), graph


def store_header(path: Path, header: Any, graph: bytes) -> None:
    """Replace the header of a plain artifact, and make every digest true."""
    (path / "header.bin").write_bytes(encode(header) + b"\n" + graph)
    fix_digests(path)


def replace_tensor(path: Path, number: int, data: bytes) -> None:
    """Replace the bytes of a stored tensor of a plain artifact, and make every digest true."""
    spans, weights, manifest = tensor_spans(path), (path / "weights.safetensors").read_bytes(), load(path)
    parts = [data if place == number else weights[begin:end] for place, (begin, end) in enumerate(spans)]
    entry = manifest["tensors"][number]
    count = layout.segment_count(len(data), sealed=False)
    manifest["tensors"][number] = {**entry, "shape": [len(data)], "segments": ["0" * 64] * count}
    store(path, manifest)
    index = Manifest.from_bytes(encode(manifest)).index
    (path / "weights.safetensors").write_bytes(b"".join([index, *parts]))
    fix_digests(path)


def sign(path: Path, signer: SigningKey) -> None:
    """Sign the artifact at `path`."""
    files = {each.name: sha256(each.read_bytes()) for each in path.iterdir() if each.name not in layout.UNSIGNED}
    bundle = signing.sign(statement.write("forged", files), signer)
    (path / "model.sig").write_bytes(bundle.to_bytes())


def data_key(path: Path, identity: Identity) -> Secret:
    """Return the data key of the artifact at `path`, as every recipient has it."""
    return KeyFile.from_bytes((path / "keys.json").read_bytes()).unwrap([identity])


def replace_wrapped(path: Path, kind: str, wrapped: bytes, count: int = 1) -> None:
    """Replace keys.json by entries of this kind that hold `wrapped`, as someone without the key can."""
    text = base64.b64encode(wrapped).decode()
    entries = [{"kind": kind, "id": f"{number:032x}", "label": "", "wrapped": text} for number in range(count)]
    (path / "keys.json").write_bytes(encode({"mac": "0" * 64, "recipients": entries}))


def tensor_spans(path: Path) -> list[tuple[int, int]]:
    """Return where each tensor lies in weights.safetensors."""
    parsed = Manifest.from_bytes((path / "manifest.json").read_bytes())
    start, spans = len(parsed.index), []
    for entry in parsed.tensors:
        size = layout.nbytes(entry.dtype, entry.shape, "tensor")
        spans.append((start, start + size))
        start += size
    return spans


@contextmanager
def patched(path: Path) -> Iterator[int]:
    """Give a descriptor to write to `path` with; its content is put back afterwards."""
    before = path.read_bytes()
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, before, 0)
        os.close(descriptor)
