"""A passphrase, through scrypt. It has nothing public, so a reader tries it on every passphrase's entry."""

from __future__ import annotations

import re
import secrets

import pyrage

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, KeyPair, Kind, Recipient

NAME = "passphrase"

MAX_WORK = 21
"""Largest scrypt log2(N) that is tried: 2 GiB, some seconds. keys.json is not signed: a stranger may ask for more."""

ATTEMPTS = 3

_STANZA = re.compile(rb"age-encryption\.org/v1\n-> scrypt [A-Za-z0-9+/]{22} ([1-9][0-9]?)\n")


def recipient(passphrase: str, *, label: str = "") -> Recipient:
    """Return the recipient that opens with `passphrase`.

    Raises:
        UsageError: It is empty.
    """
    return Recipient(kind=NAME, label=label, secret=_secret(passphrase))


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


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return an age file that holds the data key, under the passphrase stretched for about a second.

    Raises:
        UsageError: The work that this machine does in a second, as age measures it, is more than readers do.
    """
    for _ in range(ATTEMPTS):  # a busy machine may measure wrong
        wrapped = bytes(pyrage.passphrase.encrypt(data_key.value, _text(recipient)))
        if _is_bounded(wrapped):
            return wrapped
    raise UsageError(f"scrypt would take more than the 2^{MAX_WORK} steps that readers do", hint="use a key instead")


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The passphrase is wrong, the file is damaged, or it asks for more work than `MAX_WORK`; which, is
            not told.
    """
    if _is_bounded(wrapped):
        try:
            return Secret(bytes(pyrage.passphrase.decrypt(wrapped, _text(identity))))
        except pyrage.DecryptError:
            pass
    raise AccessError("passphrase does not unwrap the data key", hint="check for a typing error in the passphrase")


def _is_bounded(wrapped: bytes) -> bool:
    """Whether `wrapped` is an age file for a passphrase that asks for at most `MAX_WORK`."""
    found = _STANZA.match(wrapped)
    return found is not None and int(found[1]) <= MAX_WORK


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
    wrap=wrap,
    unwrap=unwrap,
    parse_recipient=_parse_nothing,
    parse_identity=_parse_nothing,
    generate=generate,
)
