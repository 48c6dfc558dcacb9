"""Proofs to keep: that an entry is in a log, with the checkpoint that says so, in one text.

Source:
    C2SP tlog-proof.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intact.crypto import VerifyingKey
from intact.errors import IntegrityError
from intact.ledger import checkpoint, note
from intact.ledger.checkpoint import Signed
from intact.ledger.note import NoteKey
from intact.ledger.proofs import MOST_HASHES, check_inclusion
from intact.ledger.receipt import Receipt
from intact.ledger.tree import HASH_BYTES, leaf_hash

FIRST: Final = "c2sp.org/tlog-proof@v1"
LIMIT_BYTES: Final = note.LIMIT_BYTES + 2**13
_INDEX: Final = re.compile(r"index (0|[1-9]\d{0,15})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That an entry is in a log, unverified.

    Args:
        index: Number of the entry.
        hashes: From the leaf's sibling up.
        note: The checkpoint, signed.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: str

    def to_text(self) -> str:
        """Return the proof as others read it."""
        lines = [
            FIRST,
            f"index {self.index}",
            *(base64.b64encode(each).decode() for each in self.hashes),
            "",
            self.note,
        ]
        return "\n".join(lines)


def read(data: bytes) -> Proof:
    """Read a proof; nothing in it is verified.

    Raises:
        IntegrityError: It is none.
    """
    try:
        text = data.decode() if len(data) <= LIMIT_BYTES else ""
    except UnicodeDecodeError:
        text = ""
    head, blank, rest = text.partition("\n\n")
    first, *lines = head.split("\n")
    if lines and lines[0].startswith("extra "):
        del lines[0]  # nobody vouches for it
    found = _INDEX.fullmatch(lines[0]) if lines else None
    if first != FIRST or not blank or found is None or len(lines) > 1 + MOST_HASHES:
        raise IntegrityError("file is no proof of an entry (c2sp.org/tlog-proof@v1)")
    return Proof(index=int(found[1]), hashes=tuple(map(_hash, lines[1:])), note=rest)


def check(receipt: Receipt, proof: Proof, key: VerifyingKey | NoteKey, *, witnesses: Sequence[NoteKey] = ()) -> Signed:
    """Check that the log has what a receipt says, where it says.

    Args:
        receipt: The receipt; its signature was checked.
        proof: The proof.
        key: The log's key.
        witnesses: Keys of witnesses, all of which must have seen the checkpoint.

    Returns:
        The checkpoint.

    Raises:
        AccessError: A key that was named did not sign the checkpoint.
        IntegrityError: The proof is of another entry or log, or does not hold.
    """
    signed = checkpoint.read(proof.note.encode(), key, witnesses=witnesses)
    found = signed.checkpoint
    if receipt.origin != found.origin:
        raise IntegrityError(f"receipt is of log {receipt.origin!a:.80}, the proof of {found.origin!a:.80}")
    if receipt.index != proof.index:
        raise IntegrityError(f"receipt is of entry {receipt.index}, the proof of entry {proof.index}")
    check_inclusion(leaf_hash(receipt.entry), receipt.index, found.size, proof.hashes, found.root)
    return signed


def _hash(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) != HASH_BYTES or base64.b64encode(data).decode() != text:
        raise IntegrityError("proof has a line that is no hash")
    return data
