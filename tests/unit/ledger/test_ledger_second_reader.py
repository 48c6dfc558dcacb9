"""A second verifier, written from docs/spec/log.md alone: it imports nothing of Intact."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VECTORS = Path(__file__).parents[3] / "docs" / "spec" / "vectors" / "log"
KIND = "application/vnd.intact.receipt+json"
ANSWER = {
    "credential", "grant", "guard", "model", "nonce", "request_sha256", "response_sha256", "shows", "transport",
}  # fmt: skip


class RefusedError(Exception):
    """What was read is not what it should be."""


def want(holds: bool) -> None:
    if not holds:
        raise RefusedError


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def number(value: float) -> str:
    """A number as ECMAScript writes it, for the few that the vectors hold."""
    text = repr(value)
    found = re.fullmatch(r"(-?)(\d)\.?(\d*)e-0?([56])", text)
    if found:
        sign, first, rest, power = found.groups()
        return f"{sign}0.{'0' * (int(power) - 1)}{first}{rest}"
    return text.removesuffix(".0")


def jcs(value: Any) -> str:
    """Canonical JSON; keys here are ASCII."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{jcs(key)}:{jcs(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def canonical(data: bytes) -> Any:
    try:
        value = json.loads(data)
    except ValueError:
        raise RefusedError from None
    want(jcs(value).encode() == data)
    return value


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text)
    want(base64.b64encode(data).decode() == text)
    return data


def verify(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise RefusedError from None


def read_event(event: Any) -> bytes:
    """Section 1."""
    want(event.keys() == {"fields", "subject", "time_ms", "type", "version"} and event["version"] == 1)
    if event["type"] in ("answer", "refusal"):
        want(event["fields"].keys() == ANSWER)
    return jcs(event).encode()


def read_receipt(data: bytes, pem: str) -> tuple[bytes, Any]:
    """Section 4: the entry, and where the log has it."""
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, Ed25519PublicKey)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    envelope = canonical(data)
    want(envelope.keys() == {"payload", "payloadType", "signatures"} and envelope["payloadType"] == KIND)
    (signature,) = envelope["signatures"]
    want(signature["keyid"] == hashlib.sha256(spki).hexdigest())
    payload = unbase64(envelope["payload"])
    verify(key, unbase64(signature["sig"]), b"DSSEv1 35 %b %d %b" % (KIND.encode(), len(payload), payload))
    value = canonical(payload)
    want(value.keys() == {"event", "log"} and value["log"].keys() == {"index", "origin", "salt"})
    want(re.fullmatch("[0-9a-f]{64}", value["log"]["salt"]) is not None)
    return sha(bytes.fromhex(value["log"]["salt"]), read_event(value["event"])), value["log"]


def vkey(text: str) -> tuple[str, bytes, int, bytes]:
    """Section 3: name, id, type and public key of a verifier key."""
    name, key_id, encoded = text.split("+", 2)
    data = unbase64(encoded)
    want(sha(name.encode(), b"\n", data)[:4].hex() == key_id)
    return name, bytes.fromhex(key_id), data[0], data[1:]


def read_checkpoint(data: bytes, *keys: str) -> tuple[str, int, bytes]:
    """Section 3."""
    want(b"\r" not in data and b"\n\n" in data)
    text, _, rest = data.decode().rpartition("\n\n")
    text += "\n"
    for name, key_id, kind, public in map(vkey, keys):
        found = re.findall(f"^\N{EM DASH} {re.escape(name)} (\\S+)$", rest, re.MULTILINE)
        signatures = [unbase64(each)[4:] for each in found if unbase64(each)[:4] == key_id]
        want(len(signatures) >= 1)
        for signature in signatures:
            message = text.encode()
            if kind == 4:
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                message = f"cosignature/v1\ntime {time}\n".encode() + message
            verify(Ed25519PublicKey.from_public_bytes(public), signature, message)
    origin, size, root = text.split("\n")[:3]
    return origin, int(size), unbase64(root)


def mth(leaves: list[bytes]) -> bytes:
    """Section 2."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\1", mth(leaves[:half]), mth(leaves[half:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*path(index, leaves[:half]), mth(leaves[half:])]
    return [*path(index - half, leaves[half:]), mth(leaves[:half])]


def subproof(old: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [mth(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= half:
        return [*subproof(old, leaves[:half], whole), mth(leaves[half:])]
    return [*subproof(old - half, leaves[half:], False), mth(leaves[:half])]


@pytest.fixture(scope="module")
def entries() -> list[bytes]:
    """Section 5: what the bundles hold."""
    data = b"".join((VECTORS / "served" / "tile" / "entries" / name).read_bytes() for name in ("000", "001.p/5"))
    assert {data[start : start + 2] for start in range(0, len(data), 34)} == {b"\0\x20"}
    return [data[start + 2 : start + 34] for start in range(0, len(data), 34)]


@pytest.fixture(scope="module")
def leaves(entries: list[bytes]) -> list[bytes]:
    return [sha(b"\0", entry) for entry in entries]


KEYS = load("keys.json")


@pytest.mark.parametrize("entry", load("entries.json"), ids=lambda entry: str(entry["index"]))
def test_entries(entry: Any, entries: list[bytes]) -> None:
    event = entry["event"].encode()
    assert read_event(canonical(event)) == event
    assert sha(bytes.fromhex(entry["salt"]), event) == bytes.fromhex(entry["entry"]) == entries[entry["index"]]
    assert sha(b"\0", bytes.fromhex(entry["entry"])).hex() == entry["leaf"]
    assert base64.b64decode(entry["header"]) == entry["receipt"].encode()
    found, log = read_receipt(entry["receipt"].encode(), KEYS["pem"])
    assert found.hex() == entry["entry"]
    assert log == {"index": entry["index"], "origin": "models.example.com/log", "salt": entry["salt"]}


def test_the_served_log(leaves: list[bytes]) -> None:
    data = (VECTORS / "served" / "checkpoint").read_bytes()
    origin, size, root = read_checkpoint(data, KEYS["log"], KEYS["witness"])
    assert (origin, size, root) == ("models.example.com/log", len(leaves), mth(leaves))
    tiles = VECTORS / "served" / "tile"
    assert (tiles / "0" / "000").read_bytes() == b"".join(leaves[:256])
    assert (tiles / "0" / "001.p" / "5").read_bytes() == b"".join(leaves[256:])
    assert (tiles / "1" / "000.p" / "1").read_bytes() == mth(leaves[:256])


def test_the_earlier_checkpoint(leaves: list[bytes]) -> None:
    assert read_checkpoint((VECTORS / "earlier").read_bytes(), KEYS["log"])[1:] == (6, mth(leaves[:6]))


def test_proofs(leaves: list[bytes]) -> None:
    found = load("proofs.json")
    for size, root in found["roots"].items():
        assert mth(leaves[: int(size)]).hex() == root
    for each in found["inclusion"]:
        assert [hash_.hex() for hash_ in path(each["index"], leaves[: each["size"]])] == each["hashes"]
    for each in found["consistency"]:
        wanted = subproof(each["old"], leaves[: each["new"]], True) if each["old"] else []
        assert [hash_.hex() for hash_ in wanted] == each["hashes"]
    head, _, note = found["tlog-proof"].partition("\n\n")
    assert read_checkpoint(note.encode(), KEYS["log"])[1:] == (len(leaves), mth(leaves))
    hashes = [base64.b64encode(each).decode() for each in path(3, leaves)]
    assert head.split("\n") == ["c2sp.org/tlog-proof@v1", "index 3", *hashes]


@pytest.mark.parametrize("each", load("refused.json"), ids=lambda each: each["why"])
def test_what_must_be_refused(each: Any) -> None:
    data = each["text"].encode()
    with pytest.raises(RefusedError):
        if each["kind"] == "receipt":
            read_receipt(data, KEYS["pem"])
        else:
            read_checkpoint(data, KEYS["log"])
