"""X25519 key pairs, as age writes them: age1... and AGE-SECRET-KEY-1..."""

from __future__ import annotations

from collections.abc import Sequence

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
        return Identity(kind=NAME, secret=Secret(str(pyrage.x25519.Identity.from_str(text)).encode()))
    except pyrage.IdentityError:
        raise UsageError("text that begins with 'AGE-SECRET-KEY-1' is no valid identity") from None


def generate() -> KeyPair:
    """Return a fresh key pair."""
    key = pyrage.x25519.Identity.generate()
    return KeyPair(
        recipient=Recipient(kind=NAME, public=str(key.to_public())),
        identity=Identity(kind=NAME, secret=Secret(str(key).encode())),
    )


def wrap(data_key: Secret, recipients: Sequence[Recipient]) -> bytes:
    """Wrap the data key so that each of `recipients` can unwrap it."""
    keys = [pyrage.x25519.Recipient.from_str(recipient.public) for recipient in recipients]
    return bytes(pyrage.encrypt(data_key.value, keys))


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The identity is none of the recipients, or the file is damaged; which, cannot be told.
    """
    key = pyrage.x25519.Identity.from_str(identity.secret.value.decode())
    try:
        return Secret(bytes(pyrage.decrypt(wrapped, [key])))
    except pyrage.DecryptError:
        raise AccessError("identity does not unwrap the data key") from None


KIND = Kind(
    name=NAME,
    stanza=b"X25519",
    generate=generate,
    parse_recipient=parse_recipient,
    parse_identity=parse_identity,
    wrap=wrap,
    unwrap=unwrap,
)
