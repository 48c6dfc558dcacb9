"""Checking a log: that it is the one that was signed, and goes on from the one that was signed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from intact.errors import IntegrityError
from intact.ledger.checkpoint import Checkpoint
from intact.ledger.proof_file import Proof
from intact.ledger.proofs import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
)
from intact.ledger.receipt import Receipt
from intact.ledger.tiles import WIDTH, EntryReader, Levels, LogReader, SubtreeHashes, Tile, TileReader
from intact.ledger.tree import EMPTY, HASH_BYTES, Frontier, entry_hash, leaf_hash

AT_ONCE: Final = 16 * WIDTH
"""Entries read at a time."""
EVENTS_AT_ONCE: Final = 1000


class EventReader(EntryReader, Protocol):
    """Where events are had from too, in the clear: a database."""

    def events(self, start: int, stop: int) -> Sequence[tuple[bytes, bytes]]:
        """Return salt and event of entries `start` to `stop`, without the last."""
        ...


def _nothing(done: int, total: int) -> None:
    """Tell nobody."""


def check_log(
    checkpoint: Checkpoint,
    reader: LogReader,
    *,
    since: Checkpoint | None = None,
    tell: Callable[[int, int], None] = _nothing,
) -> None:
    """Check every entry and every tile of a log.

    1. The entries give the root that was signed.
    2. The tiles are those that the entries give.
    3. The first entries give the root that was signed before.

    Args:
        checkpoint: What was signed; its signature was checked.
        reader: The log.
        since: What was signed before; its signature was checked.
        tell: Is told how many entries are done, of how many.

    Raises:
        IntegrityError: One of these does not hold.
    """
    if since is not None:
        check_follows(since, checkpoint)
    frontier, levels = EMPTY, Levels()
    for start, stop in _stretches(checkpoint.size, None if since is None else since.size):
        leaves = [leaf_hash(entry) for entry in _entries(reader, start, stop)]
        for tile, data in levels.append(leaves):
            _check_tile(reader, tile, data)  # 2
        frontier = frontier.append(leaves)
        if since is not None and stop == since.size:
            _check_root(frontier, since, "signed before")  # 3
        tell(stop, checkpoint.size)
    for tile, data in levels.rest():
        _check_tile(reader, tile, data)  # 2
    _check_root(frontier, checkpoint, "signed")  # 1


def check_events(reader: EventReader, size: int) -> None:
    """Check that the events of a log are those that its entries are salted hashes of.

    Args:
        reader: The log.
        size: How many of its events.

    Raises:
        IntegrityError: One is not.
    """
    for start in range(0, size, EVENTS_AT_ONCE):
        stop = min(size, start + EVENTS_AT_ONCE)
        entries, events = _entries(reader, start, stop), reader.events(start, stop)
        if len(events) != len(entries):
            raise IntegrityError(f"log has {len(events)} events from {start} on, wanted {len(entries)}")
        for index, ((salt, event), entry) in enumerate(zip(events, entries, strict=True), start):
            if len(salt) != HASH_BYTES or entry_hash(salt, event) != entry:
                raise IntegrityError(f"event {index} of the log was changed: it is not what its entry was made of")


def check_grown(since: Checkpoint, checkpoint: Checkpoint, reader: TileReader) -> None:
    """Check by tiles alone that a log grew out of what was signed before; the entries need not be there.

    Args:
        since: What was signed before; its signature was checked.
        checkpoint: What is signed now; its signature was checked.
        reader: The log.

    Raises:
        IntegrityError: It did not.
    """
    check_follows(since, checkpoint)
    hashes = consistency_proof(since.size, checkpoint.size, SubtreeHashes(reader, checkpoint.size))
    check_consistency(since.size, checkpoint.size, since.root, checkpoint.root, hashes)


def check_follows(since: Checkpoint, checkpoint: Checkpoint) -> None:
    """Check that one checkpoint can follow another, as far as that shows without the log.

    Raises:
        IntegrityError: They are of two logs, or the later one is smaller, or both have one size and two roots.
    """
    if since.origin != checkpoint.origin:
        raise IntegrityError(f"checkpoint is of log {checkpoint.origin!a:.80}, the earlier one of {since.origin!a:.80}")
    if checkpoint.size < since.size:
        raise IntegrityError(
            f"log has {checkpoint.size} entries, and had {since.size} before: it was cut",
            hint="keep both checkpoints: together they prove it",
        )
    if checkpoint.size == since.size and checkpoint.root != since.root:
        raise IntegrityError(
            f"two logs of {since.size} entries were signed that are not the same",
            hint="keep both checkpoints: together they prove it",
        )


def prove(receipt: Receipt, checkpoint: Checkpoint, note: str, reader: TileReader) -> Proof:
    """Return the proof that a log has what a receipt says, where it says.

    Args:
        receipt: The receipt; its signature was checked.
        checkpoint: What the log signed; its signature was checked.
        note: The checkpoint with its signatures.
        reader: The log.

    Raises:
        IntegrityError: The log does not have it.
        UsageError: The checkpoint is from before the receipt.
    """
    if receipt.origin != checkpoint.origin:
        raise IntegrityError(f"receipt is of log {receipt.origin!a:.80}, this is {checkpoint.origin!a:.80}")
    hashes = inclusion_proof(receipt.index, checkpoint.size, SubtreeHashes(reader, checkpoint.size))
    check_inclusion(leaf_hash(receipt.entry), receipt.index, checkpoint.size, hashes, checkpoint.root)
    return Proof(index=receipt.index, hashes=tuple(hashes), note=note)


def _stretches(size: int, stop_at: int | None) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover the log, in order; one of them ends at `stop_at`, even at 0."""
    if stop_at == 0:
        yield 0, 0
    start = 0
    while start < size:
        stop = min(size, start + AT_ONCE)
        if stop_at is not None and start < stop_at < stop:
            stop = stop_at
        yield start, stop
        start = stop


def _entries(reader: EntryReader, start: int, stop: int) -> Sequence[bytes]:
    entries = reader.entry_hashes(start, stop) if start < stop else ()
    if len(entries) != stop - start or any(len(each) != HASH_BYTES for each in entries):
        raise IntegrityError(f"log lacks entries between {start} and {stop}, which were signed")
    return entries


def _check_tile(reader: TileReader, tile: Tile, data: bytes) -> None:
    assert tile.level is not None  # bundles come from no tree
    if reader.tile(tile.level, tile.index, tile.width) != data:
        raise IntegrityError(f"tile {tile.index} of level {tile.level} does not hold the hashes that the entries give")


def _check_root(frontier: Frontier, checkpoint: Checkpoint, when: str) -> None:
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise IntegrityError(
            f"log was rewritten: its first {checkpoint.size} entries are not those that were {when}",
            hint="keep the checkpoint and a copy of the log: together they prove it",
        )
