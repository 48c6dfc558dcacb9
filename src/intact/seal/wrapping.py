"""The data key in keys.age: wrapped for recipients, unwrapped by identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact.crypto import Secret
from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal.recipient import Identity, Kind, Recipient
from intact.seal.recipients import kinds

DATA_KEY_BYTES: Final = 32
_AGE_LINE: Final = b"age-encryption.org/v1\n"


def wrap(data_key: Secret, recipients: Sequence[Recipient]) -> bytes:
    """Return an age file that each of `recipients` can open, holding the 32 bytes of the data key.

    Raises:
        UsageError: The recipients are of more than one kind.
    """
    names = sorted({recipient.kind for recipient in recipients})
    if len(names) != 1:
        raise UsageError(
            f"recipients of kinds {' and '.join(names)} cannot share one keys.age",
            hint="give public keys only, or one passphrase only",
        )
    return _kind(names[0]).wrap(data_key, recipients)


def unwrap(wrapped: bytes, identities: Sequence[Identity]) -> Secret:
    """Return the data key in an age file, by the first identity that opens it.

    Raises:
        AccessError: No identity was given, or none opens it; a damaged file looks no different.
        IntegrityError: It opens, and holds no data key.
    """
    if not identities:
        raise AccessError("artifact is sealed and no identity was given", hint="give the identity it was sealed for")
    if wrapped.startswith(_AGE_LINE):  # and not age's armored form, which has many spellings
        for identity in identities:
            try:
                data_key = _kind(identity.kind).unwrap(wrapped, identity)
            except AccessError:
                continue
            if len(data_key) != DATA_KEY_BYTES:
                raise IntegrityError("keys.age does not hold a data key")
            return data_key
    raise AccessError(
        f"none of the {len(identities)} identities given opens keys.age",
        hint="check that the artifact was sealed for this identity, and that keys.age is not damaged",
    )


def count_recipients(wrapped: bytes) -> int:
    """Return how many recipients the header of an age file lists; anyone may have written it."""
    header = wrapped.partition(b"\n---")[0]
    return sum(header.count(b"\n-> %b " % kind.stanza) for kind in kinds())


def _kind(name: str) -> Kind:
    """Return the kind called `name`."""
    for kind in kinds():
        if kind.name == name:
            return kind
    raise UsageError(f"there is no kind of recipient called {name!a}")
