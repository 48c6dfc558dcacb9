"""ML-KEM-768 and X25519 together: secure while either is, so that what is copied today stays closed to a later quantum
computer. HPKE with SHA-512 and AES-256-GCM."""

from __future__ import annotations

import base64
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from intact.crypto import Secret, blake3
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, KeyPair, Kind, Recipient

NAME = "hybrid"
INFO: Final = b"intact/v1/data-key"
_PUBLIC = "intact-pq1-"
_PRIVATE = "INTACT-PQ-SECRET-KEY-1-"
_KEM_PUBLIC_BYTES = 1184
_KEM_SEED_BYTES = 64
_X25519_BYTES = 32
_CHECK_BYTES = 4
"""Digest at the end of a text, against typing errors."""


def parse_recipient(text: str) -> Recipient | None:
    """Read "intact-pq1-...".

    Raises:
        UsageError: It begins so, and is no valid key.
    """
    if not text.startswith(_PUBLIC):
        return None
    try:
        _public_key(text)
    except ValueError:
        raise UsageError(f"text that begins with {_PUBLIC!a} is no valid recipient", hint="copy all of it") from None
    return Recipient(kind=NAME, public=text)


def parse_identity(text: str) -> Identity | None:
    """Read "INTACT-PQ-SECRET-KEY-1-...".

    Raises:
        UsageError: It begins so, and is no valid key.
    """
    if not text.startswith(_PRIVATE):
        return None
    try:
        kem, curve = _private_keys(text)
    except ValueError:
        raise UsageError(f"text that begins with {_PRIVATE!a} is no valid identity", hint="copy all of it") from None
    return _identity(kem, curve)


def generate() -> KeyPair:
    """Return a fresh key pair."""
    identity = _identity(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
    return KeyPair(recipient=Recipient(kind=NAME, public=identity.public), identity=identity)


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return encapsulated key and ciphertext of the data key.

    Raises:
        UsageError: The X25519 half of the key is one that no private key belongs to.

    Source:
        RFC 9180, section 6.1, "Encryption and Decryption", with the KEM "MLKEM768-X25519" of the IETF's hybrid KEMs.
    """
    try:
        return _suite().encrypt(data_key.value, _public_key(recipient.public), info=INFO)
    except ValueError:
        raise UsageError("hybrid public key is not one that can be wrapped for", hint="ask for another") from None


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The bytes are for somebody else, or damaged; which, cannot be told.
    """
    assert identity.secret is not None  # `_identity` sets it
    keys = hpke.MLKEM768X25519PrivateKey(*_private_keys(identity.secret.value.decode()))
    try:
        return Secret(_suite().decrypt(wrapped, keys, info=INFO))
    except (InvalidTag, ValueError):
        raise AccessError(
            "hybrid identity does not unwrap the data key", hint="check that keys.json is not damaged"
        ) from None


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA512, hpke.AEAD.AES_256_GCM)


def _identity(kem: MLKEM768PrivateKey, curve: X25519PrivateKey) -> Identity:
    public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    private = kem.private_bytes_raw() + curve.private_bytes_raw()
    secret = Secret(_text(_PRIVATE, private).encode())
    return Identity(kind=NAME, public=_text(_PUBLIC, public), secret=secret)


def _public_key(text: str) -> hpke.MLKEM768X25519PublicKey:
    """Return the key in `text`; raise ValueError where there is none."""
    data = _data(_PUBLIC, text, _KEM_PUBLIC_BYTES + _X25519_BYTES)
    kem = MLKEM768PublicKey.from_public_bytes(data[:_KEM_PUBLIC_BYTES])
    return hpke.MLKEM768X25519PublicKey(kem, X25519PublicKey.from_public_bytes(data[_KEM_PUBLIC_BYTES:]))


def _private_keys(text: str) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Return both keys in `text`; raise ValueError where there are none."""
    data = _data(_PRIVATE, text, _KEM_SEED_BYTES + _X25519_BYTES)
    kem = MLKEM768PrivateKey.from_seed_bytes(data[:_KEM_SEED_BYTES])
    return kem, X25519PrivateKey.from_private_bytes(data[_KEM_SEED_BYTES:])


def _text(prefix: str, data: bytes) -> str:
    """Return prefix, data and check in text: base64url without padding."""
    return prefix + base64.urlsafe_b64encode(data + _check(prefix, data)).decode().rstrip("=")


def _data(prefix: str, text: str, size: int) -> bytes:
    """Return what `_text` was given, `size` bytes; raise ValueError where `text` is not exactly what it returns."""
    body = text.removeprefix(prefix)
    data = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))[:size]
    if len(data) != size or _text(prefix, data) != text:
        raise ValueError
    return data


def _check(prefix: str, data: bytes) -> bytes:
    return bytes.fromhex(blake3(prefix.encode() + data))[:_CHECK_BYTES]


KIND = Kind(
    name=NAME,
    wrap=wrap,
    unwrap=unwrap,
    parse_recipient=parse_recipient,
    parse_identity=parse_identity,
    generate=generate,
    private_prefix=_PRIVATE,
)
