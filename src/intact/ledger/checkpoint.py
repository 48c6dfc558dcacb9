"""Checkpoints: a log's name, size and root, signed; whoever keeps one can tell later whether the log was rewritten.

Source:
    C2SP tlog-checkpoint.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from intact.crypto import SigningKey, VerifyingKey
from intact.errors import AccessError, IntegrityError
from intact.ledger import note
from intact.ledger.note import Note, NoteKey
from intact.ledger.origin import check_origin, is_origin
from intact.ledger.tree import EMPTY_ROOT, HASH_BYTES, LIMIT_SIZE

_SIZE: Final = re.compile(r"0|[1-9]\d{0,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log.

    Args:
        origin: Its name.
        size: Number of entries.
        root: Root of the tree over them.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A checkpoint that was verified.

    Args:
        checkpoint: What it says.
        note: It, with all lines under it.
        seen: When each witness that was asked for saw it, in seconds since 1970.
    """

    checkpoint: Checkpoint
    note: Note
    seen: Mapping[NoteKey, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSigner:
    """Signs the checkpoints of one log.

    Args:
        key: An Ed25519 key.
        origin: Name of the log.

    Raises:
        UsageError: The key is of another kind, or the name is none.
    """

    key: SigningKey
    origin: str

    def __post_init__(self) -> None:
        check_origin(self.origin)
        _ = self.verifier

    @property
    def verifier(self) -> NoteKey:
        """What others check its checkpoints with; its text is for them to keep."""
        return NoteKey.of(self.key.verifying_key, self.origin)

    def sign(self, size: int, root: bytes) -> str:
        """Return the note of a checkpoint. Never call it for a tree that does not continue all that were signed."""
        return str(note.sign(Checkpoint(origin=self.origin, size=size, root=root).text, self.key, self.origin))


def read(data: bytes, key: VerifyingKey | NoteKey, *, witnesses: Sequence[NoteKey] = ()) -> Signed:
    """Return a checkpoint after its signatures were checked.

    Args:
        data: The note.
        key: The log's key; one with a name accepts that log only.
        witnesses: Keys of witnesses, all of which must have seen it.

    Raises:
        AccessError: The log's key, or a witness', did not sign it.
        IntegrityError: It is no checkpoint, or a signature does not hold.
    """
    found = note.read(data)
    origin = found.text.partition("\n")[0]
    if not is_origin(origin):
        raise IntegrityError("checkpoint names no log")
    log = key if isinstance(key, NoteKey) else NoteKey.of(key, origin)
    if log.name != origin:
        raise AccessError(f"checkpoint is of log {origin!a:.80}, not of {log.name!a:.80}")
    signed = found.check([log, *witnesses])
    for each in (log, *witnesses):
        if each not in signed:
            raise note.missing(each)
    times = {each: time_s for each, time_s in signed.items() if time_s is not None}
    return Signed(checkpoint=_parse(found.text), note=found, seen=times)


def _parse(text: str) -> Checkpoint:
    """Return the checkpoint that a signed text is; lines that follow the third say nothing here."""
    lines = text.split("\n")[:-1]
    if len(lines) < 3 or not all(lines):
        raise IntegrityError("checkpoint does not have three lines")
    origin, size, encoded = lines[:3]
    try:
        root = base64.b64decode(encoded, validate=True)
    except ValueError:
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != encoded:
        raise IntegrityError("checkpoint has no root of 32 bytes")
    if _SIZE.fullmatch(size) is None or int(size) > LIMIT_SIZE:
        raise IntegrityError("checkpoint has no size")
    if (int(size) == 0) != (root == EMPTY_ROOT):
        raise IntegrityError("checkpoint has a root that does not fit its size")
    return Checkpoint(origin=origin, size=int(size), root=root)
