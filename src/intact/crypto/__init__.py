"""Bytes to bytes: secrets, key derivation, chunked encryption, digests, signatures."""

from intact.crypto.certificates import Authority, CertifiedKey
from intact.crypto.digest import HASHERS, Hasher, blake3, sha256, sha256_file
from intact.crypto.kdf import derive
from intact.crypto.secret import Secret
from intact.crypto.signature import SigningKey, VerifyingKey

__all__ = [
    "HASHERS",
    "Authority",
    "CertifiedKey",
    "Hasher",
    "Secret",
    "SigningKey",
    "VerifyingKey",
    "blake3",
    "derive",
    "sha256",
    "sha256_file",
]
