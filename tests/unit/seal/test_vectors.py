"""The committed test vectors of the format are read by us and by the second reader, and what must be refused is."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from test_second_reader import open_artifact

from intact import seal
from intact.crypto import VerifyingKey, sha256
from intact.errors import AccessError, IntegrityError

VECTORS = Path(__file__).parents[3] / "docs" / "spec" / "vectors"


def told(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


KEYS, CONTENT = told("keys.json"), told("content.json")
IDENTITIES = {
    "x25519": seal.load_identity(KEYS["x25519"]),
    "hybrid": seal.load_identity(KEYS["hybrid"]),
    "passphrase": seal.passphrase_identity(KEYS["passphrase"]),
}
SIGNERS = [VerifyingKey.from_pem(KEYS["signer"].encode())]


def check(graph: bytes, tensors: Any, metadata: Any, card: Any) -> None:
    assert base64.b64encode(graph).decode() == CONTENT["graph"]
    assert (metadata, card) == (CONTENT["metadata"], CONTENT["card"])
    found = {
        name: {"dtype": value.dtype.str, "shape": list(value.shape), "sha256": sha256(value.tobytes())}
        for name, value in tensors.items()
    }
    assert found == CONTENT["tensors"]


@pytest.mark.parametrize("kind", [*IDENTITIES, None])
def test_our_reader_reads_them(kind: str | None) -> None:
    path = VECTORS / ("plain" if kind is None else "sealed")
    found = seal.read(path, identities=[] if kind is None else [IDENTITIES[kind]], signers=SIGNERS)
    check(found.program.model, found.program.tensors, dict(found.header), dict(found.card))


def test_the_second_reader_reads_the_sealed_one() -> None:
    check(**open_artifact(VECTORS / "sealed", KEYS["x25519"], load_pem_public_key(KEYS["signer"].encode())))


@pytest.mark.parametrize("case", told("refused.json"), ids=lambda case: f"{case['artifact']}: {case['what']}")
def test_what_must_be_refused_is(case: dict[str, Any], tmp_path: Path) -> None:
    path = Path(shutil.copytree(VECTORS / case["artifact"], tmp_path / "m"))
    data = bytearray((path / case["file"]).read_bytes())
    data[case["offset"]] ^= 1
    (path / case["file"]).write_bytes(data)
    with pytest.raises((IntegrityError, AccessError)):
        seal.read(path, identities=[IDENTITIES["x25519"]], signers=SIGNERS)
