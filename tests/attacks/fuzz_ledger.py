"""Coverage-guided fuzzing of what reads receipts and logs of strangers: run by test_ledger_fuzz.py in its own process.

Usage: fuzz_ledger.py PARSER [options of libFuzzer] CORPUS. Ends with an error where a parser raises anything but ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["intact.ledger", "intact.wire"]):
    from intact.crypto import SigningKey
    from intact.errors import IntactError
    from intact.ledger import answer, checkpoint, event, note, proof_file, receipt, tiles

KEY = SigningKey.generate().verifying_key


def envelope(data: bytes) -> None:
    """Read a receipt, and its payload as if the signature had held."""
    with suppress(IntactError):
        receipt.read(data, [KEY])
    receipt._from_payload(data)


def signed(data: bytes) -> None:
    """Read a note, and its checkpoint as if a signature had held."""
    found = note.read(data)
    assert str(found).encode() == data, "what was read is what was written"
    checkpoint._parse(found.text)


def happened(data: bytes) -> None:
    """Read an event, and what it answered."""
    found = event.Event.decode(data)
    assert found.encode() == data, "one event, one spelling"
    answer.read_answer(found)


def kept(data: bytes) -> None:
    """Read a proof."""
    proof_file.read(data)


def bundle(data: bytes) -> None:
    """Read a bundle, a path and a verifier key."""
    tiles.parse_path(data.decode("latin-1"))
    with suppress(IntactError):
        note.NoteKey.from_text(data.decode("latin-1"))
    tiles.decode_entries(data, 1 + len(data) % 256)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "receipt": envelope,
    "checkpoint": signed,
    "event": happened,
    "proof": kept,
    "bundle": bundle,
}


def main() -> None:
    """Fuzz until libFuzzer's limits are reached."""
    parse = PARSERS[sys.argv.pop(1)]

    def once(data: bytes) -> None:
        with suppress(IntactError):
            parse(data)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
