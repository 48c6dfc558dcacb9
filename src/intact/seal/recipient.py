"""Who may open: recipients, identities, and what a kind of them has to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult

from intact.crypto import Secret, blake3
from intact.errors import UsageError

MAX_LABEL_CHARS: Final = 64
ID_CHARS: Final = 32
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Someone a data key is wrapped for.

    Args:
        kind: Name of the kind.
        public: What may be shown of it; empty for a passphrase.
        label: What the owner calls it, in keys.json for all to read: at most 64 printable characters of ASCII.
        secret: What may not be shown; None but for a passphrase.

    Raises:
        UsageError: The label is too long, or has other characters.
    """

    kind: str
    public: str = ""
    label: str = ""
    secret: Secret | None = None

    def __post_init__(self) -> None:
        if not is_label(self.label):
            raise UsageError(
                f"label of a recipient has {len(self.label)} characters, or others than printable ASCII",
                hint=f"give at most {MAX_LABEL_CHARS} letters, digits, spaces and signs",
            )

    @property
    def id(self) -> str | None:
        """What keys.json calls it; None where it has nothing public, so that every wrapping gets an id of its own."""
        return fingerprint(self.kind, self.public)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Someone who can unwrap a data key.

    Args:
        kind: Name of the kind.
        public: What the recipient that belongs to it shows; empty for a passphrase.
        secret: The private key or passphrase; None where a service holds it.
    """

    kind: str
    public: str = ""
    secret: Secret | None = None

    @property
    def id(self) -> str | None:
        """What keys.json calls the recipient that belongs to it; None where that cannot be known."""
        return fingerprint(self.kind, self.public)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A recipient and the identity that opens what is wrapped for it."""

    recipient: Recipient
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to wrap a data key: two methods, and what its keys look like.

    Args:
        name: What recipients, identities and entries of keys.json of this kind carry as `kind`.
        wrap: The data key for a recipient of this kind, in bytes that only its identity can read.
        unwrap: Those bytes and the identity to the data key. Raises AccessError when they do not open, whatever the
            reason, and UsageError when a service that holds the key cannot be asked.
        parse_recipient: Text of a public key to a recipient; None when the text is of another kind.
        parse_identity: Text of a private key to an identity; None when the text is of another kind.
        generate: A fresh pair; None where somebody else makes the keys.
        private_prefix: What the text of a private key begins with; empty where it has no text of its own.
    """

    name: str
    wrap: Callable[[Secret, Recipient], bytes]
    unwrap: Callable[[bytes, Identity], Secret]
    parse_recipient: Callable[[str], Recipient | None]
    parse_identity: Callable[[str], Identity | None]
    generate: Callable[[], KeyPair] | None = None
    private_prefix: str = ""


def fingerprint(kind: str, public: str) -> str | None:
    """Return the first 32 hex digits of the BLAKE3 of kind, a zero byte and public text; None where that is empty."""
    return blake3(f"{kind}\0{public}".encode())[:ID_CHARS] if public else None


def stays_here(address: SplitResult) -> bool:
    """Whether `address` is plain HTTP to this machine, which nobody listens to as long as no proxy is asked."""
    return address.scheme == "http" and address.hostname in LOOPBACK


def is_label(text: str) -> bool:
    """Whether `text` can be a label: at most 64 printable characters of ASCII, or none."""
    return len(text) <= MAX_LABEL_CHARS and text.isascii() and (text.isprintable() or not text)
