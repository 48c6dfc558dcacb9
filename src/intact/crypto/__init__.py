"""Bytes to bytes: secrets, key derivation, chunked encryption, digests, signatures."""

from intact.crypto.digest import sha256, sha256_file
from intact.crypto.kdf import derive
from intact.crypto.secret import Secret
from intact.crypto.signature import SigningKey, VerifyingKey

__all__ = ["Secret", "SigningKey", "VerifyingKey", "derive", "sha256", "sha256_file"]
