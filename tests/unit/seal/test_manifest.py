"""The manifest: what it takes and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from intact.errors import IntegrityError
from intact.seal.manifest import Blob, Entry, Manifest
from intact.seal.policy import Policy
from intact.wire import decode, encode

DIGEST = "0f" * 32
MANIFEST = Manifest(
    format=1,
    suite="intact-1-sealed",
    artifact="ab" * 16,
    revision=1,
    key_commitment=DIGEST,
    header=Blob(size=100, blake3=DIGEST),
    lineage=Blob(size=2, blake3=DIGEST),
    tensors=(Entry(dtype="U8", shape=(2_000_000,), segments=(DIGEST, DIGEST)),),
    card={"name": "m"},
    policy=Policy(not_after=1_900_000_000, engines=("onnxruntime",)),
)


def test_a_manifest_comes_back() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def changed(path: list[Any], value: Any) -> bytes:
    """Return the manifest's JSON with the item at `path` replaced."""
    document = decode(MANIFEST.to_bytes(), where="manifest")
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return encode(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], 2, "is of format 2, this version reads format 1"),
        (["format"], True, "is of format True"),
        (["format"], None, "is of format None"),
        (["suite"], "intact-2", "names suite 'intact-2'"),
        (["suite"], "intact-1-plain", "key commitment and a suite that do not fit"),
        (["key_commitment"], None, "key commitment and a suite that do not fit"),
        (["key_commitment"], "0F" * 32, "not 64 lower-case hex digits"),
        (["artifact"], "ab" * 15, "impossible artifact id"),
        (["revision"], 0, "impossible artifact id or revision"),
        (["revision"], 1.5, "revision is float"),
        (["header", "blake3"], "", "not 64 lower-case hex digits"),
        (["header", "size"], "1", "size is str"),
        (["tensors", 0, "dtype"], "I8", "tensor 0 in manifest.json is not ciphertext"),
        (["tensors", 0, "dtype"], "F8", "unknown type 'F8'"),
        (["tensors", 0, "shape"], [1000, 2000], "tensor 0 in manifest.json is not ciphertext"),
        (["tensors", 0, "shape"], [-1], "impossible shape"),
        (["tensors", 0, "shape"], [1] * 33, "impossible shape"),
        (["tensors", 0, "shape"], [10**15], "beyond 2\\^42 elements"),
        (["tensors", 0, "shape"], [0, 10**15], "beyond 2\\^42 elements"),
        (["tensors", 0, "segments"], [DIGEST], "another number of digests"),
        (["tensors", 0, "segments", 0], "x" * 64, "not 64 lower-case hex digits"),
        (["extra"], 1, "unknown field 'extra'"),
        (["card"], [], "card is list"),
        (["policy"], None, "policy is not an object"),
        (["policy", "not_after"], 1.5, "not_after is float"),
        (["policy", "not_before"], 1_900_000_001, "policy ends at 2030-03-17T17:46:40Z, before it begins"),
        (["policy", "engines"], "onnxruntime", "engines is str"),
        (["policy", "minimum_revision"], 2, "withdraws its own revision"),
    ],
)
def test_a_wrong_field_is_refused(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        Manifest.from_bytes(changed(path, value))


@pytest.mark.parametrize("data", [b"[]", b"1", b"{}", b""])
def test_another_document_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        Manifest.from_bytes(data)
