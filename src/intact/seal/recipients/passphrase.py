"""A passphrase, through scrypt. By age's rule it is the only recipient of its file."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

import pyrage

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, KeyPair, Kind, Recipient

NAME = "passphrase"

MAX_WORK = 21
"""Largest scrypt log2(N) that is tried: 2 GiB, some seconds. keys.age is not signed: a stranger may ask for more."""

_STANZA = re.compile(rb"age-encryption\.org/v1\n-> scrypt [A-Za-z0-9+/]{22} ([1-9][0-9]?)\n")


def recipient(passphrase: str) -> Recipient:
    """Return the recipient that opens with `passphrase`.

    Raises:
        UsageError: It is empty.
    """
    return Recipient(kind=NAME, secret=_secret(passphrase))


def identity(passphrase: str) -> Identity:
    """Return the identity that opens what was sealed with `passphrase`.

    Raises:
        UsageError: It is empty.
    """
    return Identity(kind=NAME, secret=_secret(passphrase))


def generate() -> KeyPair:
    """Return both sides of a fresh passphrase of 128 random bits."""
    text = secrets.token_urlsafe(16)
    return KeyPair(recipient=recipient(text), identity=identity(text))


def wrap(data_key: Secret, recipients: Sequence[Recipient]) -> bytes:
    """Wrap the data key under one passphrase, stretched for about a second.

    Raises:
        UsageError: There is more than one recipient.
    """
    if len(recipients) != 1:
        raise UsageError(f"{len(recipients)} passphrases given, age takes one", hint="give one passphrase")
    (only,) = recipients
    return bytes(pyrage.passphrase.encrypt(data_key.value, _text(only)))


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The passphrase is wrong, the file is damaged or made for a key, or it asks for more work than
            `MAX_WORK`; which, is not told.
    """
    found = _STANZA.match(wrapped)
    if found is None or int(found[1]) > MAX_WORK:
        raise AccessError("identity does not unwrap the data key")
    try:
        return Secret(bytes(pyrage.passphrase.decrypt(wrapped, _text(identity))))
    except pyrage.DecryptError:
        raise AccessError("identity does not unwrap the data key") from None


def _secret(passphrase: str) -> Secret:
    """Return `passphrase` as a secret."""
    if not passphrase:
        raise UsageError("passphrase is empty", hint="choose one of several random words")
    return Secret(passphrase.encode())


def _text(holder: Recipient | Identity) -> str:
    """Return the passphrase of `holder` as text."""
    assert holder.secret is not None  # the constructors above set it
    return holder.secret.value.decode()


def _parse_nothing(text: str) -> None:
    """A passphrase has no form of its own: it is never taken from text that might be a key or a path."""


KIND = Kind(
    name=NAME,
    stanza=b"scrypt",
    generate=generate,
    parse_recipient=_parse_nothing,
    parse_identity=_parse_nothing,
    wrap=wrap,
    unwrap=unwrap,
)
