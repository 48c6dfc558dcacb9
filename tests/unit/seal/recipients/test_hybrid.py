"""ML-KEM-768 and X25519 together."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intact import seal
from intact.crypto import Secret, blake3
from intact.errors import AccessError, UsageError
from intact.seal.recipients import hybrid

KEY = Secret.random()
PAIR = hybrid.generate()


def halves(text: str, first: int) -> tuple[bytes, bytes]:
    """Return what docs/spec/artifact.md says a text holds, read without this package."""
    body = text.rpartition("-1-")[2] if text.startswith("INTACT") else text.removeprefix("intact-pq1-")
    data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    prefix = text[: len(text) - len(body)]
    assert data[-4:].hex() == blake3(prefix.encode() + data[:-4])[:8]
    return data[:first], data[first:-4]


def unwrap_by_hand(wrapped: bytes, seed: bytes, scalar: bytes, info: bytes) -> bytes:
    """Do what docs/spec/artifact.md says with ML-KEM, X25519, hashes and AES alone."""
    suite = b"HPKE" + bytes.fromhex("647a00030002")  # X-Wing, HKDF-SHA512, AES-256-GCM
    curve, sent, body = x25519.X25519PrivateKey.from_private_bytes(scalar), wrapped[1088:1120], wrapped[1120:]
    secrets = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(wrapped[:1088])
    secrets += curve.exchange(x25519.X25519PublicKey.from_public_bytes(sent))
    shared = hashlib.sha3_256(secrets + sent + curve.public_key().public_bytes_raw() + b"\\.//^\\").digest()

    def extract(label: bytes, data: bytes, salt: bytes = bytes(64)) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + suite + label + data, "sha512")

    def expand(key: bytes, label: bytes, context: bytes, size: int) -> bytes:
        return hmac.digest(key, size.to_bytes(2) + b"HPKE-v1" + suite + label + context + b"\1", "sha512")[:size]

    context = b"\0" + extract(b"psk_id_hash", b"") + extract(b"info_hash", info)
    secret = extract(b"secret", b"", shared)
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, body, b"")


def test_anybody_with_the_specification_unwraps_it() -> None:
    seed, scalar = halves(PAIR.identity.secret.value.decode(), 64)
    wrapped = hybrid.wrap(KEY, PAIR.recipient)
    assert unwrap_by_hand(wrapped, seed, scalar, b"intact/v1/data-key") == KEY.value
    assert len(wrapped) == 1088 + 32 + 32 + 16


def test_the_public_text_is_that_of_the_private_one() -> None:
    seed, scalar = halves(PAIR.identity.secret.value.decode(), 64)
    kem, curve = halves(PAIR.recipient.public, 1184)
    assert kem == mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    assert curve == x25519.X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()


def test_what_was_wrapped_for_another_purpose_is_refused() -> None:
    seed, scalar = halves(PAIR.identity.secret.value.decode(), 64)
    public = hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(seed), x25519.X25519PrivateKey.from_private_bytes(scalar)
    ).public_key()
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA512, hpke.AEAD.AES_256_GCM)
    for info in (b"", b"intact/v2/data-key"):
        with pytest.raises(AccessError, match="does not unwrap"):
            hybrid.unwrap(suite.encrypt(KEY.value, public, info=info), PAIR.identity)


@pytest.mark.parametrize("place", [5, 12, 30, 700, -1])
def test_a_typing_error_is_found(place: int) -> None:
    for text, parse in (
        (PAIR.recipient.public, hybrid.parse_recipient),
        (PAIR.identity.secret.value.decode(), hybrid.parse_identity),
    ):
        at = place % len(text)
        letter = "A" if text[at] != "A" else "B"
        wrong = text[:at] + letter + text[at + 1 :]
        if wrong.startswith(("intact-pq1-", "INTACT-PQ-SECRET-KEY-1-")):
            with pytest.raises(UsageError, match="is no valid") as caught:
                parse(wrong)
            assert wrong[40:60] not in str(caught.value)
        else:
            assert parse(wrong) is None


@pytest.mark.parametrize("tail", ["", "=", "A", "\n", "é", " "])
def test_other_spellings_are_refused(tail: str) -> None:
    for wrong in (PAIR.recipient.public[:-1] + tail, PAIR.recipient.public + (tail or "AA")):
        with pytest.raises(UsageError, match="is no valid recipient"):
            hybrid.parse_recipient(wrong)


def test_a_public_key_without_a_private_one_is_refused() -> None:
    kem, _ = halves(PAIR.recipient.public, 1184)
    data = kem + bytes(32)
    text = base64.urlsafe_b64encode(data + bytes.fromhex(blake3(b"intact-pq1-" + data)[:8])).decode().rstrip("=")
    recipient = hybrid.parse_recipient("intact-pq1-" + text)
    with pytest.raises(UsageError, match="not one that can be wrapped for"):
        hybrid.wrap(KEY, recipient)


def test_key_files_are_made_and_read(tmp_path: Path) -> None:
    seal.new_keys(tmp_path / "keys", post_quantum=True)
    identity = seal.load_identity(tmp_path / "keys" / "identity.key")
    recipient = seal.load_recipient(tmp_path / "keys" / "identity.pub")
    assert identity.kind == recipient.kind == "hybrid"
    assert hybrid.unwrap(hybrid.wrap(KEY, recipient), identity) == KEY
    assert seal.load_recipient(recipient.public) == recipient
    assert seal.shows_private_key(identity.secret.value.decode())
    assert not seal.shows_private_key(recipient.public)
