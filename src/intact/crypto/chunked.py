"""Chunked AES-256-GCM with key commitment, in the C2SP layout (Cobblestone-256), readable from any chunk.

    message = salt (24) || commitment (32) || chunk 0 || chunk 1 || ... || final chunk
    key (32) || base nonce (12) || commitment (32)
        = HKDF-Expand(SHA-512, prk = input key, info = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM" || 0 || salt)

Every chunk holds 16 KiB and a 16-byte tag; the final one is always shorter, which is how truncation shows. Chunk k is
encrypted under base nonce XOR k. Writing, and reading from beginning to end, is `cryptography.cobblestone`; reading
from any chunk is here, because that one only streams. The application context of the specification is left empty:
callers bind theirs by deriving the input key.

Source:
    C2SP chunked-encryption v1, c2sp.org/chunked-encryption.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from intact.crypto.buffer import Buffer
from intact.crypto.secret import Secret
from intact.errors import IntegrityError

CHUNK_BYTES = 16 * 1024
TAG_BYTES = 16
WIRE_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
SALT_BYTES = 24
COMMITMENT_BYTES = 32
PREFIX_BYTES = SALT_BYTES + COMMITMENT_BYTES
_KEY_BYTES = 32
_NONCE_BYTES = 12
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


def refusal() -> IntegrityError:
    """Return the one error for whatever fails under a key, so that a failure says nothing about the plaintext."""
    return IntegrityError("encrypted content does not open under this key")


def sealed_size(plain_bytes: int) -> int:
    """Return the size of the message that `plain_bytes` bytes become: 56 + n + 16 * (n // 16384 + 1)."""
    return PREFIX_BYTES + plain_bytes + TAG_BYTES * (plain_bytes // CHUNK_BYTES + 1)


def plain_size(sealed_bytes: int) -> int:
    """Return the size of the plaintext in a message of `sealed_bytes` bytes.

    Raises:
        IntegrityError: No message has this size.
    """
    whole, rest = divmod(sealed_bytes - PREFIX_BYTES, WIRE_CHUNK_BYTES)
    if sealed_bytes < PREFIX_BYTES or rest < TAG_BYTES:
        raise refusal()
    return whole * CHUNK_BYTES + rest - TAG_BYTES


def seal(key: Secret, plaintext: Buffer) -> bytes:
    """Encrypt `plaintext` under `key` with a fresh salt.

    Returns:
        The message, `sealed_size(len(plaintext))` bytes; two calls never give the same.
    """
    encryptor = Cobblestone256Encryptor(key.value, b"")
    return encryptor.update(plaintext) + encryptor.finalize()


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Opener:
    """Decrypts the chunks of one message in any order, from any number of threads.

    Args:
        cipher: AES-256-GCM under the message key.
        base_nonce: The message's base nonce as a big-endian integer.
        plain_bytes: Size of the whole plaintext.
    """

    cipher: AESGCM
    base_nonce: int
    plain_bytes: int

    @classmethod
    def start(cls, key: Secret, prefix: Buffer, sealed_bytes: int) -> Opener:
        """Derive the message keys and check the commitment, in constant time, before any chunk is touched.

        Args:
            key: The input key.
            prefix: The first 56 bytes of the message: salt and commitment.
            sealed_bytes: Size of the whole message.

        Raises:
            IntegrityError: The key is not the one the message was made with, or no message has this size.
        """
        plain_bytes = plain_size(sealed_bytes)
        salt, commitment = bytes(prefix[:SALT_BYTES]), bytes(prefix[SALT_BYTES:PREFIX_BYTES])
        length = _KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES
        derived = HKDFExpand(hashes.SHA512(), length, _INFO + salt).derive(key.value)
        if not hmac.compare_digest(derived[_KEY_BYTES + _NONCE_BYTES :], commitment):
            raise refusal()
        nonce = int.from_bytes(derived[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES], "big")
        return cls(cipher=AESGCM(derived[:_KEY_BYTES]), base_nonce=nonce, plain_bytes=plain_bytes)

    def open_run(self, first: int, wire: memoryview, out: memoryview) -> None:
        """Decrypt consecutive chunks into `out`.

        Args:
            first: Number of the first chunk.
            wire: The chunks as they lie in the message, whole.
            out: Where the plaintext goes: exactly the bytes [16384 * first, ...) that these chunks hold.

        Raises:
            IntegrityError: A chunk is damaged, out of its place, or not as long as the message's size says. What `out`
                then holds must not be used.
        """
        count = -(-len(wire) // WIRE_CHUNK_BYTES)
        expected = min((first + count) * CHUNK_BYTES, self.plain_bytes) - first * CHUNK_BYTES
        if len(out) != expected or len(wire) != expected + count * TAG_BYTES:
            raise refusal()
        try:
            for number in range(count):
                nonce = (self.base_nonce ^ (first + number)).to_bytes(_NONCE_BYTES, "big")
                chunk = wire[number * WIRE_CHUNK_BYTES : (number + 1) * WIRE_CHUNK_BYTES]
                plain = out[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
                self.cipher.decrypt_into(nonce, chunk, None, plain)
        except InvalidTag:
            raise refusal() from None


class Stream:
    """Decrypts one message from its beginning to its end; in fewer and longer steps than an `Opener`.

    Args:
        key: The input key.
        out: Where the plaintext goes, exactly as long as it is.
    """

    def __init__(self, key: Secret, out: memoryview) -> None:
        self._decryptor, self._out, self._done = Cobblestone256Decryptor(key.value, b""), out, 0

    def take(self, wire: Buffer) -> None:
        """Decrypt the next bytes of the message, of which every part but the last ends where a chunk does.

        Raises:
            IntegrityError: Another key, or a chunk that is damaged or out of its place. What `out` then holds must not
                be used.
        """
        try:
            self._done += self._decryptor.update_into(wire, self._out[self._done :])
        except (InvalidTag, ValueError):  # the latter: it is longer than `out`
            raise refusal() from None

    def finish(self) -> None:
        """Decrypt the final chunk.

        Raises:
            IntegrityError: It is not there, or the plaintext is not as long as `out`. `out` must not be used then.
        """
        try:
            rest = self._decryptor.finalize()
        except InvalidTag:
            raise refusal() from None
        if self._done + len(rest) != len(self._out):
            raise refusal()
        self._out[self._done :] = rest


def unseal(key: Secret, message: Buffer) -> bytearray:
    """Decrypt a whole message.

    Returns:
        The plaintext; nothing is returned unless every chunk is authentic and the last one is there.

    Raises:
        IntegrityError: Another key, or any change to the message.
    """
    plaintext = bytearray(plain_size(len(memoryview(message))))
    stream = Stream(key, memoryview(plaintext))
    stream.take(message)
    stream.finish()
    return plaintext
