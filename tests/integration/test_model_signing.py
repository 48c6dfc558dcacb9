"""The OpenSSF model-signing tool verifies our artifacts, and we verify what it signed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from intact import seal
from intact.errors import IntegrityError
from intact.graph import Program
from intact.seal.recipients import x25519

OUTSIDE = ("keys.json", "countersignatures.json")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair of ECDSA P-256 keys, as that tool wants them."""
    folder = tmp_path_factory.mktemp("keys")
    key = ec.generate_private_key(ec.SECP256R1())
    folder.joinpath("k.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    folder.joinpath("k.pub").write_bytes(seal.SigningKey(key).verifying_key.to_pem())
    return folder


def write(path: Path, signer: seal.Signer | None = None) -> Path:
    tensors = {"w": np.arange(-7, 8, dtype=np.int8).reshape(3, 5), "long": np.zeros(3_000_000, np.float32)}
    tensors["long"][::7] = np.random.default_rng(0).standard_normal(len(tensors["long"][::7]))
    payload = seal.Payload(program=Program(model=b"graph", tensors=tensors), header={}, card={}, lineage={})
    seal.write(payload, path, recipients=[x25519.generate().recipient], signer=signer)
    return path


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the public tool."""
    command = [sys.executable, "-m", "model_signing", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_public_tool_verifies_our_artifacts(keys: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.intact", seal.load_signing_key(keys / "k.pem"))
    words = ("verify", "key", path, "--signature", path / "model.sig", "--public_key", keys / "k.pub")
    found = tool(*words)
    assert (found.returncode, "Verification succeeded" in found.stdout + found.stderr) == (0, True), found
    seal.countersign(path, seal.SigningKey.generate(), signers=[seal.load_verifying_key(keys / "k.pub")])
    path.joinpath("keys.json").write_bytes(b"who may open is outside of the signature")
    assert tool(*words).returncode == 0
    with path.joinpath("weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert tool(*words).returncode != 0


@pytest.mark.parametrize("ignored", [OUTSIDE, ()], ids=["without the keys", "with the keys"])
def test_we_verify_what_the_public_tool_signed(keys: Path, tmp_path: Path, ignored: tuple[str, ...]) -> None:
    path = write(tmp_path / "m.intact")
    options = [word for name in ignored for word in ("--ignore-paths", path / name)]
    signed = tool("sign", "key", path, "--signature", path / "model.sig", "--private_key", keys / "k.pem", *options)
    assert signed.returncode == 0, signed
    signers = [seal.load_verifying_key(keys / "k.pub")]
    seal.verify(path, signers=signers)
    path.joinpath("keys.json").write_bytes(b"others")
    if ignored:
        seal.verify(path, signers=signers)
    else:
        with pytest.raises(IntegrityError, match="keys.json is not the file that was signed"):
            seal.verify(path, signers=signers)
