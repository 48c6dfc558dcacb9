"""Bytes to bytes: secrets, key derivation, chunked encryption, digests, signatures."""

from intact.crypto.certificates import Authority, CertifiedKey
from intact.crypto.digest import Blake3, blake3, sha256, sha256_file
from intact.crypto.kdf import derive
from intact.crypto.secret import Secret
from intact.crypto.signature import SigningKey, VerifyingKey

__all__ = [
    "Authority",
    "Blake3",
    "CertifiedKey",
    "Secret",
    "SigningKey",
    "VerifyingKey",
    "blake3",
    "derive",
    "sha256",
    "sha256_file",
]
