"""Signatures with Ed25519 or ECDSA P-256; the kind follows from the key, never from the signed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from intact.crypto.digest import sha256
from intact.errors import IntegrityError, UsageError

PrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey

_KINDS = "an Ed25519 or ECDSA P-256 key"


def encode_signed(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: type and payload with their lengths, so that no two pairs give the same.

    Source:
        DSSE protocol, section "Pre-Authentication Encoding".
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class VerifyingKey:
    """A public key that signatures are checked with.

    Args:
        key: An Ed25519 or ECDSA P-256 public key.
    """

    key: PublicKey

    @classmethod
    def from_pem(cls, data: bytes) -> VerifyingKey:
        """Read a PEM SubjectPublicKeyInfo.

        Raises:
            UsageError: `data` is no PEM public key, or one of another kind.
        """
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError("no PEM public key found", hint=f"give the .pub file of {_KINDS}") from None
        return cls.of(key)

    @classmethod
    def of(cls, key: object) -> VerifyingKey:
        """Return `key` as one that signatures are checked with.

        Raises:
            UsageError: It is of another kind.
        """
        if isinstance(key, Ed25519PublicKey) or (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return cls(key)
        raise UsageError("public key is of another kind", hint=f"use {_KINDS}")

    def to_pem(self) -> bytes:
        """Return the key as PEM SubjectPublicKeyInfo."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """SHA-256 of the DER SubjectPublicKeyInfo, in hex."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return sha256(self.key.public_bytes(serialization.Encoding.DER, form))

    @property
    def hint(self) -> str:
        """SHA-256 of the PEM, in hex: what an OpenSSF model signature calls the key."""
        return sha256(self.to_pem())

    def verify(self, signature: bytes, payload_type: str, payload: bytes) -> None:
        """Check that the holder of this key signed `payload` as a `payload_type`.

        Raises:
            IntegrityError: They did not.
        """
        message = encode_signed(payload_type, payload)
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, message)
            else:
                self.key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise IntegrityError(f"signature does not verify under key {self.key_id[:16]}") from None

    def __repr__(self) -> str:
        return f"<VerifyingKey {self.key_id[:16]}>"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SigningKey:
    """A private key that signs; its repr shows the public half only.

    Args:
        key: An Ed25519 or ECDSA P-256 private key.
    """

    key: PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh Ed25519 key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: bytes) -> SigningKey:
        """Read an unencrypted PEM private key.

        Raises:
            UsageError: `data` is no such key, or one of another kind.
        """
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UsageError(
                "no unencrypted PEM private key found", hint=f"give the private key file of {_KINDS}"
            ) from None
        if isinstance(key, Ed25519PrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return cls(key)
        raise UsageError("private key is of another kind", hint=f"use {_KINDS}")

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PEM PKCS #8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.key.public_key())

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Sign `payload` as a `payload_type`."""
        message = encode_signed(payload_type, payload)
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def __repr__(self) -> str:
        return f"<SigningKey {self.verifying_key.key_id[:16]}>"
