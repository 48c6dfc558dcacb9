"""Make the test vectors of the artifact format, docs/spec/vectors: run only when the format changes.

Encryption is random, so every run gives other files that say the same. `tests/unit/seal/test_vectors.py` reads them.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import generate_log_vectors
import numpy as np

from intact import seal
from intact.crypto import sha256
from intact.graph import Program
from intact.seal.recipients import hybrid, x25519

VECTORS = Path(__file__).parent / "spec" / "vectors"
PASSPHRASE = "correct horse battery staple"  # noqa: S105 - everybody may know it
WRONG = (
    ("sealed", "weights.safetensors", -1, "the last tag of a tensor"),
    ("sealed", "header.enc", 30, "the commitment of a message"),
    ("sealed", "manifest.json", 20, "a digit of the manifest"),
    ("sealed", "keys.json", 60, "the list of recipients"),
    ("sealed", "model.sig", 200, "the signed statement"),
    ("sealed", "lineage.json", 5, "the lineage"),
    ("plain", "weights.safetensors", -1, "the last byte of a tensor"),
    ("plain", "header.bin", 40, "the header"),
)
"""Bytes to change by one bit: every reader must refuse the artifact then."""


def main() -> None:
    """Write two artifacts, their keys, what is in them, and what must be refused."""
    shutil.rmtree(VECTORS, ignore_errors=True)
    VECTORS.mkdir()
    owner, later, signer = x25519.generate(), hybrid.generate(), seal.SigningKey.generate()
    content = payload()
    recipients = [owner.recipient, later.recipient, seal.passphrase_recipient(PASSPHRASE)]
    seal.write(content, VECTORS / "sealed", recipients=recipients, signer=signer)
    seal.countersign(VECTORS / "sealed", seal.SigningKey.generate(), signers=[signer.verifying_key])
    seal.write(content, VECTORS / "plain", signer=signer)
    keys = {
        "x25519": owner.identity.secret.value.decode(),
        "hybrid": later.identity.secret.value.decode(),
        "passphrase": PASSPHRASE,
        "signer": signer.verifying_key.to_pem().decode(),
    }
    tell("keys.json", keys)
    tell("content.json", described(content))
    tell("refused.json", [dict(zip(("artifact", "file", "offset", "what"), each, strict=True)) for each in WRONG])
    generate_log_vectors.main()


def payload() -> seal.Payload:
    """Tensors that a writer stores in every form, small."""
    rng = np.random.default_rng(0)
    narrow = rng.integers(-7, 8, (24, 96)).astype(np.int8)
    groups = np.repeat(rng.integers(1, 15, (24, 3)), 32, axis=1).astype(np.int8)
    tensors = {
        "raw": rng.integers(-128, 128, 40, dtype=np.int8),
        "two chunks": rng.integers(-128, 128, 20_000, dtype=np.int8),
        "narrow": narrow,
        "multiples": narrow * groups,
        "sparse": np.where(rng.random((96, 96)) < 0.1, rng.integers(-99, 99, (96, 96)), 0).astype(np.int8),
        "floats": rng.standard_normal(9).astype(np.float32),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.int64),
    }
    return seal.Payload(
        program=Program(model=b"any bytes, here no graph", tensors=tensors),
        header={"note": "private"},
        card={"name": "vectors"},
        lineage={"_type": "https://in-toto.io/Statement/v1", "subject": []},
    )


def described(content: seal.Payload) -> dict[str, Any]:
    """Return what a reader must find."""
    tensors = {
        name: {"dtype": value.dtype.str, "shape": list(value.shape), "sha256": sha256(value.tobytes())}
        for name, value in content.program.tensors.items()
    }
    graph = base64.b64encode(content.program.model).decode()
    return {"graph": graph, "tensors": tensors, "metadata": dict(content.header), "card": dict(content.card)}


def tell(name: str, value: Any) -> None:
    """Write one JSON file."""
    (VECTORS / name).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
