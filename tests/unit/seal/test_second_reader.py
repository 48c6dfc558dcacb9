"""A second reader, written from docs/spec/artifact.md alone: nothing of Intact reads here."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intact import seal
from intact.seal.recipient import KeyPair

DTYPES = dict(
    zip(
        ["BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64"],
        ["?", "u1", "i1", "<u2", "<i2", "<f2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8"],
        strict=True,
    )
)


def jcs(value: Any) -> bytes:
    """Canonical JSON, enough for values without floats and with keys in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869, section 2.3)."""
    first = hmac.digest(key, info + b"\x01", "sha512")
    return (first + hmac.digest(key, first + info + b"\x02", "sha512"))[:length]


def derive(data_key: bytes, purpose: str, context: dict[str, Any]) -> bytes:  # section 4
    return expand(data_key, b"intact/v1/" + purpose.encode() + b"\0" + jcs(context), 32)


def open_message(key: bytes, message: bytes) -> bytes:  # section 4, messages
    salt, commitment = message[:24], message[24:56]
    derived = expand(key, b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt, 76)
    assert derived[44:] == commitment
    plain = b""
    for number, start in enumerate(range(56, len(message), 16400)):
        nonce = (int.from_bytes(derived[32:44], "big") ^ number).to_bytes(12, "big")
        plain += AESGCM(derived[:32]).decrypt(nonce, message[start : start + 16400], None)
    assert (len(message) - 56) % 16400 >= 16
    return plain


def open_artifact(path: Path, identity: str, signer: Any) -> dict[str, Any]:
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    record, text = json.loads(files["model.sig"]), files["manifest.json"]  # section 2
    kind = b"application/vnd.intact.manifest.v1+json"
    signer.verify(bytes.fromhex(record["signature"]), b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(text), text))
    manifest = json.loads(text)  # section 3
    assert (manifest["format"], manifest["suite"]) == (1, "intact-1-sealed")
    for key, name in [("header", "header.enc"), ("lineage", "lineage.json")]:
        digest = hashlib.sha256(files[name]).hexdigest()
        assert manifest[key] == {"size": len(files[name]), "sha256": digest}
    data_key = pyrage.decrypt(files["keys.age"], [pyrage.x25519.Identity.from_str(identity)])  # section 4
    place = {"artifact": manifest["artifact"], "revision": manifest["revision"]}
    assert derive(data_key, "commitment", place).hex() == manifest["key_commitment"]
    first, _, graph = open_message(derive(data_key, "header", place), files["header.enc"]).partition(b"\n")
    header = json.loads(first)  # section 6
    assert header["lineage_sha256"] == manifest["lineage"]["sha256"]
    weights = files["weights.safetensors"]  # section 5
    size = int.from_bytes(weights[:8], "little")
    index, body, tensors = json.loads(weights[8 : 8 + size]), weights[8 + size :], {}
    for number, (spec, entry) in enumerate(zip(header["tensors"], manifest["tensors"], strict=True)):
        begin, end = index[f"t{number:05d}"]["data_offsets"]
        data, cut = body[begin:end], 56 + 64 * 16400
        pieces = [data[:cut], *[data[start : start + 64 * 16400] for start in range(cut, len(data), 64 * 16400)]]
        assert [hashlib.sha256(piece).hexdigest() for piece in pieces] == entry["segments"]
        context = place | {"dtype": spec["dtype"], "index": number, "shape": spec["shape"]}
        plain = open_message(derive(data_key, "tensor", context), data)
        assert hashlib.sha256(plain).hexdigest() == spec["sha256"]
        tensors[spec["name"]] = np.frombuffer(plain, DTYPES[spec["dtype"]]).reshape(spec["shape"])
    return {"graph": graph, "tensors": tensors, "metadata": header["metadata"], "card": manifest["card"]}


def test_a_second_reader_reads_the_same(
    tmp_path: Path, payload: seal.Payload, owner: KeyPair, signer: seal.SigningKey
) -> None:
    seal.write(payload, tmp_path / "m.intact", recipients=[owner.recipient], signer=signer)
    identity = owner.identity.secret.value.decode()
    found = open_artifact(tmp_path / "m.intact", identity, signer.verifying_key.key)
    assert (found["graph"], found["metadata"], found["card"]) == (payload.program.model, payload.header, payload.card)
    assert found["tensors"].keys() == payload.program.tensors.keys()
    for name, tensor in payload.program.tensors.items():
        np.testing.assert_array_equal(found["tensors"][name], tensor, strict=True)
