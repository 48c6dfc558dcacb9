"""Having a checkpoint seen by a witness, who keeps what they saw last and signs only what follows it.

Source:
    C2SP tlog-witness, add-checkpoint.
"""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger import note
from intact.ledger.checkpoint import Signed
from intact.ledger.note import Note, NoteKey
from intact.ledger.proofs import consistency_proof
from intact.ledger.tiles import SubtreeHashes, TileReader
from intact.ledger.web import Told

PATH: Final = "add-checkpoint"
LIMIT_BYTES: Final = 2**14
"""Longest answer of a witness that is read."""
_SIZE: Final = re.compile(rb"(0|[1-9]\d{0,15})\n")

Post: TypeAlias = Callable[[str, bytes, int], Told]


def request(old: int, proof: Sequence[bytes], text: Note) -> bytes:
    """Return what is sent to a witness.

    Args:
        old: Size of the tree that it saw last.
        proof: That the tree of `text` grew out of that.
        text: The checkpoint, signed.
    """
    lines = [f"old {old}", *(base64.b64encode(each).decode() for each in proof), "", str(text)]
    return "\n".join(lines).encode()


def submit(signed: Signed, reader: TileReader, key: NoteKey, post: Post) -> Note:
    """Have a witness sign a checkpoint.

    Args:
        signed: The checkpoint.
        reader: The log.
        key: The witness' key.
        post: Sends bytes to a path of the witness.

    Returns:
        The checkpoint with the witness' line under it, verified; lines of keys that were not asked for are left out.

    Raises:
        UsageError: The key is no witness', or the witness answers what no witness does.
        AccessError: The witness does not know the log or its key, or has signed with another key.
        IntegrityError: The log does not follow what the witness has seen.
    """
    if not key.witnesses:
        raise UsageError("key is not one of a witness", hint="give its cosignature key, whose type is 4")
    told = post(PATH, request(0, (), signed.note), LIMIT_BYTES)
    if told.status == http.client.CONFLICT:
        old = _seen(told, signed.checkpoint.size)
        proof = consistency_proof(old, signed.checkpoint.size, SubtreeHashes(reader, signed.checkpoint.size))
        told = post(PATH, request(old, proof, signed.note), LIMIT_BYTES)
    _check_status(told)
    return _joined(signed.note, told.body, key)


def _seen(told: Told, size: int) -> int:
    """Return the size of the tree that a witness saw last."""
    found = _SIZE.fullmatch(told.body)
    if found is None:
        raise UsageError("witness does not say which checkpoint it saw last", hint="check that it is one")
    if int(found[1]) > size:
        raise IntegrityError(
            f"witness has seen {int(found[1])} entries of the log, more than the {size} of this checkpoint",
            hint="submit the newest checkpoint; where this is the newest, the log was cut",
        )
    return int(found[1])


def _check_status(told: Told) -> None:
    if told.status in (http.client.CONFLICT, http.client.UNPROCESSABLE_ENTITY):
        raise IntegrityError(
            "witness does not sign: this log does not follow the one it has seen",
            hint="try again where somebody else submits checkpoints too; otherwise the log was rewritten",
        )
    if told.status in (http.client.NOT_FOUND, http.client.FORBIDDEN):
        raise AccessError(
            "witness does not know this log, or not this key of it",
            hint="give its keeper the text that `intact log key` prints",
        )
    if told.status != http.client.OK or len(told.body) > LIMIT_BYTES:
        raise UsageError(f"witness answered with status {told.status}", hint="try again later")


def _joined(text: Note, body: bytes, key: NoteKey) -> Note:
    """Return a note with those lines of a witness' answer that are of `key`, verified."""
    try:
        lines = note.read_lines(body.decode())
    except UnicodeDecodeError:
        raise IntegrityError("answer of the witness is no text") from None
    wanted = tuple(line for line in lines if (line.name, line.id) == (key.name, key.id))
    if key not in replace(text, lines=wanted).check([key]):
        raise note.missing(key)
    kept = tuple(line for line in text.lines if (line.name, line.id) != (key.name, key.id))
    return replace(text, lines=kept + wanted)
