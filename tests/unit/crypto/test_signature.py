"""Signatures with both kinds of key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from intact.crypto import SigningKey, VerifyingKey
from intact.crypto.signature import PrivateKey, encode_signed
from intact.errors import IntegrityError, UsageError

KEYS = [SigningKey.generate(), SigningKey(ec.generate_private_key(ec.SECP256R1()))]
BY_KIND = pytest.mark.parametrize("key", KEYS, ids=["ed25519", "p256"])


def pem(key: PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@BY_KIND
def test_a_signature_holds_for_its_key_type_and_payload_only(key: SigningKey) -> None:
    signature = key.sign("type", b"payload")
    key.verifying_key.verify(signature, "type", b"payload")
    stranger = type(key)(Ed25519PrivateKey.generate()).verifying_key
    for verifier, kind, payload in [
        (key.verifying_key, "type", b"payloae"),
        (key.verifying_key, "typ", b"epayload"),
        (key.verifying_key, "other", b"payload"),
        (stranger, "type", b"payload"),
    ]:
        with pytest.raises(IntegrityError, match="does not verify under key"):
            verifier.verify(signature, kind, payload)


@BY_KIND
def test_every_bit_of_a_signature_matters(key: SigningKey) -> None:
    signature = bytearray(key.sign("type", b"payload"))
    for place in range(8 * len(signature)):
        signature[place // 8] ^= 1 << place % 8
        with pytest.raises(IntegrityError):
            key.verifying_key.verify(bytes(signature), "type", b"payload")
        signature[place // 8] ^= 1 << place % 8


@BY_KIND
@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"0", b"\xff" * 72])
def test_what_is_no_signature_is_refused(key: SigningKey, signature: bytes) -> None:
    with pytest.raises(IntegrityError):
        key.verifying_key.verify(signature, "type", b"payload")


@BY_KIND
def test_keys_come_back_from_pem(key: SigningKey) -> None:
    again, public = SigningKey.from_pem(key.to_pem()), VerifyingKey.from_pem(key.verifying_key.to_pem())
    assert again.verifying_key.key_id == public.key_id == key.verifying_key.key_id
    public.verify(again.sign("type", b"payload"), "type", b"payload")


@BY_KIND
def test_repr_shows_the_public_half_only(key: SigningKey) -> None:
    assert repr(key) == f"<SigningKey {key.verifying_key.key_id[:16]}>"
    assert repr(key.verifying_key) == f"<VerifyingKey {key.verifying_key.key_id[:16]}>"


def test_signed_bytes_are_those_of_dsse() -> None:
    assert encode_signed("http://example.com/HelloWorld", b"hello world") == (  # the protocol's own example
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_keys_of_other_kinds_are_refused() -> None:
    for other in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(UsageError, match="private key is of another kind"):
            SigningKey.from_pem(pem(other))
        with pytest.raises(UsageError, match="public key is of another kind"):
            VerifyingKey.from_pem(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_what_is_no_key_is_refused() -> None:
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    for data in (b"", b"junk", KEYS[0].verifying_key.to_pem(), locked):
        with pytest.raises(UsageError, match="no unencrypted PEM private key"):
            SigningKey.from_pem(data)
    for data in (b"", b"junk", KEYS[0].to_pem()):
        with pytest.raises(UsageError, match="no PEM public key"):
            VerifyingKey.from_pem(data)
