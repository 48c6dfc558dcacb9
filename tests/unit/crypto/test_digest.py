"""SHA-256 against the standard's own examples."""

from __future__ import annotations

from pathlib import Path

from intact.crypto import sha256, sha256_file

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, example "abc"


def test_digest_of_bytes() -> None:
    assert sha256(b"abc") == sha256(memoryview(b"abc")) == sha256(bytearray(b"abc")) == ABC


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256_file(path) == sha256(b"abc" * 1_000_000)
