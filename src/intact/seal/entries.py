"""The entries of keys.json, one for each recipient, as a stranger may have written them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intact.errors import IntegrityError
from intact.seal import layout
from intact.seal.recipient import ID_CHARS, is_label
from intact.seal.recipients import passphrase

MAX_RECIPIENTS: Final = 256
MAX_PASSPHRASES: Final = 8
"""A reader with a passphrase tries them all, each for a second or more."""
MAX_WRAPPED_BYTES: Final = 6144
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What keys.json holds for one recipient.

    Args:
        kind: Name of its kind.
        id: Fingerprint of its public text, 32 hex digits; random where it has none.
        label: What the owner calls it.
        wrapped: The data key as its kind wraps it, in base64.
    """

    kind: str
    id: str
    label: str
    wrapped: str

    @property
    def data(self) -> bytes:
        """What `wrapped` writes."""
        return base64.b64decode(self.wrapped, validate=True)


def check(entries: Sequence[Entry]) -> None:
    """Check everything about `entries` that needs no key.

    A kind that is unknown is not refused: it may be one of a later version, and the others can still open.

    Raises:
        IntegrityError: There are none or too many, one comes twice, or a field is out of range.
    """
    if not 1 <= len(entries) <= MAX_RECIPIENTS:
        raise IntegrityError(f"{layout.KEYS} has {len(entries)} recipients, wanted 1 to {MAX_RECIPIENTS}")
    for number, entry in enumerate(entries):
        if not (_is_kind(entry.kind) and is_hex(entry.id, ID_CHARS) and is_label(entry.label) and _is_wrapped(entry)):
            raise IntegrityError(f"recipient {number} in {layout.KEYS} has a field that is out of range")
    if len({(entry.kind, entry.id) for entry in entries}) != len(entries):
        raise IntegrityError(f"{layout.KEYS} names a recipient twice")
    words = sum(entry.kind == passphrase.NAME for entry in entries)
    if words > MAX_PASSPHRASES:
        raise IntegrityError(f"{layout.KEYS} has {words} passphrases, at most {MAX_PASSPHRASES} allowed")


def is_hex(text: str, size: int) -> bool:
    """Whether `text` is `size` lower-case hex digits."""
    return len(text) == size and _HEX.issuperset(text)


def _is_kind(text: str) -> bool:
    """Whether `text` can be the name of a kind, known or not."""
    return text.isascii() and text.isidentifier() and len(text) <= ID_CHARS


def _is_wrapped(entry: Entry) -> bool:
    """Whether an entry holds bytes, not too many, in their one spelling."""
    try:
        data = entry.data
    except (binascii.Error, ValueError):
        return False
    return 0 < len(data) <= MAX_WRAPPED_BYTES and base64.b64encode(data).decode() == entry.wrapped
