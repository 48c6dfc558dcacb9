"""Keys from keys, each for one purpose."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from intact.crypto.secret import Secret
from intact.errors import UsageError

KEY_BYTES = 32


def derive(key: Secret, purpose: str, context: bytes = b"") -> Secret:
    """Derive the 256-bit key for one purpose and context.

    HKDF-Expand(SHA-512, prk = key, info = "intact/v1/" || purpose || 0x00 || context). There is no extract step: `key`
    is uniform already.

    Args:
        key: 32 uniformly random bytes.
        purpose: A label in ASCII, a constant of the calling code; it holds no zero byte, so that info parses one way.
        context: What the key is bound to.

    Returns:
        32 bytes, independent of those of any other purpose or context.

    Raises:
        UsageError: The key has another size, or the label holds a zero byte.

    Source:
        RFC 5869, section 2.3.
    """
    if len(key) != KEY_BYTES or "\0" in purpose:
        raise UsageError(f"key of {len(key)} bytes for purpose {purpose!a}, wanted {KEY_BYTES} bytes and no zero byte")
    info = b"intact/v1/" + purpose.encode() + b"\0" + context
    return Secret(HKDFExpand(hashes.SHA512(), KEY_BYTES, info).derive(key.value))
