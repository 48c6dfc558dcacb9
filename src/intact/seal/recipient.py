"""Who may open: recipients, identities, and what a kind of them has to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from intact.crypto import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Someone a data key is wrapped for.

    Args:
        kind: Name of the kind.
        public: What may be shown of it; empty for a passphrase.
        secret: What may not; None for a public key.
    """

    kind: str
    public: str = ""
    secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Someone who can unwrap a data key.

    Args:
        kind: Name of the kind.
        secret: The private key or passphrase.
    """

    kind: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A recipient and the identity that opens what is wrapped for it."""

    recipient: Recipient
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to wrap a data key into an age file.

    Args:
        name: What recipients and identities of this kind carry as `kind`.
        stanza: How age calls it in the header of the file.
        generate: A fresh pair.
        parse_recipient: Text of a public key to a recipient; None when the text is of another kind.
        parse_identity: Text of a private key to an identity; None when the text is of another kind.
        wrap: The data key and its recipients, all of this kind, to an age file.
        unwrap: An age file and an identity of this kind to the data key; raises AccessError when it does not open.
    """

    name: str
    stanza: bytes
    generate: Callable[[], KeyPair]
    parse_recipient: Callable[[str], Recipient | None]
    parse_identity: Callable[[str], Identity | None]
    wrap: Callable[[Secret, Sequence[Recipient]], bytes]
    unwrap: Callable[[bytes, Identity], Secret]
