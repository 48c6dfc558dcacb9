"""X25519 key pairs, as age writes them: age1... and AGE-SECRET-KEY-1..."""

from __future__ import annotations

from typing import Any

import pyrage

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, KeyPair, Kind, Recipient

NAME = "x25519"
_PUBLIC = "age1"
_PRIVATE = "AGE-SECRET-KEY-1"


def parse_recipient(text: str) -> Recipient | None:
    """Read "age1...".

    Raises:
        UsageError: It begins so, and is no valid key.
    """
    if not text.startswith(_PUBLIC):
        return None
    try:
        return Recipient(kind=NAME, public=str(pyrage.x25519.Recipient.from_str(text)))
    except pyrage.RecipientError:
        raise UsageError(
            "text that begins with 'age1' is no valid recipient", hint="check for a typing error"
        ) from None


def parse_identity(text: str) -> Identity | None:
    """Read "AGE-SECRET-KEY-1...".

    Raises:
        UsageError: It begins so, and is no valid key.
    """
    if not text.startswith(_PRIVATE):
        return None
    try:
        return _identity(pyrage.x25519.Identity.from_str(text))
    except pyrage.IdentityError:
        raise UsageError("text that begins with 'AGE-SECRET-KEY-1' is no valid identity") from None


def generate() -> KeyPair:
    """Return a fresh key pair."""
    key = pyrage.x25519.Identity.generate()
    return KeyPair(recipient=Recipient(kind=NAME, public=str(key.to_public())), identity=_identity(key))


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return an age file that holds the data key."""
    return bytes(pyrage.encrypt(data_key.value, [pyrage.x25519.Recipient.from_str(recipient.public)]))


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The file is for somebody else, or damaged; which, cannot be told.
    """
    assert identity.secret is not None  # `_identity` sets it
    key = pyrage.x25519.Identity.from_str(identity.secret.value.decode())
    try:
        return Secret(bytes(pyrage.decrypt(wrapped, [key])))
    except pyrage.DecryptError:
        raise AccessError(
            "X25519 identity does not unwrap the data key", hint="check that keys.json is not damaged"
        ) from None


def _identity(key: Any) -> Identity:
    return Identity(kind=NAME, public=str(key.to_public()), secret=Secret(str(key).encode()))


KIND = Kind(
    name=NAME,
    wrap=wrap,
    unwrap=unwrap,
    parse_recipient=parse_recipient,
    parse_identity=parse_identity,
    generate=generate,
    private_prefix=_PRIVATE,
)
