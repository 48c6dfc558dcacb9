"""Reading the log: entries, tiles, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from intact.errors import IntegrityError, UsageError
from intact.ledger import Frontier, leaf_hash
from intact.ledger.tiles import WIDTH, width_of
from intact.serve.state.schema import checkpoints, log_entries, log_head, log_tiles
from intact.serve.state.values import Checkpoint

MOST_EVENTS: Final = 4096
MOST_HASHES: Final = 65_536


def read_frontier(connection: Connection) -> Frontier:
    """Return the right edge of the log.

    Raises:
        IntegrityError: It is damaged, or does not fit the size that is told beside it.
    """
    row = connection.execute(select(log_head.c.size, log_head.c.frontier).where(log_head.c.id == 1)).first()
    if row is None:
        raise IntegrityError("log has lost its head", hint="put the database back from a copy")
    frontier = Frontier.from_bytes(_blob(row.frontier))
    if frontier.size != row.size:
        raise IntegrityError("head of the log does not fit its size", hint="put the database back from a copy")
    return frontier


def checked_length(connection: Connection) -> int:
    """Return how many entries the log has.

    Raises:
        IntegrityError: It does not end where its head says. Nothing else in it is looked at; `intact log verify` does.
    """
    last = select(func.max(log_entries.c.position)).scalar_subquery()
    size, last_there = connection.execute(select(log_head.c.size, last)).one()  # at one moment: the log may grow
    if size != (0 if last_there is None else last_there + 1):
        raise IntegrityError(
            f"log should have {size} entries, and has others", hint="put the database back from a copy"
        )
    return int(size)


def read_events(connection: Connection, start: int, stop: int) -> list[tuple[bytes, bytes]]:
    """Return salts and events."""
    _refuse_span(start, stop, MOST_EVENTS)
    query = (
        select(log_entries.c.salt, log_entries.c.event)
        .where(log_entries.c.position >= start, log_entries.c.position < stop)
        .order_by(log_entries.c.position)
    )
    return [(_blob(salt), _blob(event)) for salt, event in connection.execute(query)]


def read_hashes(connection: Connection, start: int, stop: int) -> list[bytes]:
    """Return entries."""
    _refuse_span(start, stop, MOST_HASHES)
    query = (
        select(log_entries.c.hash)
        .where(log_entries.c.position >= start, log_entries.c.position < stop)
        .order_by(log_entries.c.position)
    )
    return [_blob(each) for each in connection.execute(query).scalars()]


def read_tile(connection: Connection, level: int, index: int, width: int) -> bytes:
    """Return hashes of a tile: as they were stored where it is full, else from what is below it."""
    size = read_frontier(connection).size
    if level < 0 or index < 0 or not 1 <= width <= min(WIDTH, width_of(level, index, size)):
        raise UsageError(f"a log of {size} entries has no tile {index} of level {level} and width {width}")
    if width_of(level, index, size) == WIDTH:
        query = select(log_tiles.c.hashes).where(log_tiles.c.level == level, log_tiles.c.number == index)
        hashes = connection.execute(query).scalar()
        if hashes is None:
            raise IntegrityError(
                f"log has lost tile {index} of level {level}", hint="put the database back from a copy"
            )
        return _blob(hashes)[: 32 * width]
    start, stop = WIDTH * index, WIDTH * index + width
    below = (
        [leaf_hash(each) for each in read_hashes(connection, start, stop)]
        if level == 0
        else (_read_roots(connection, level - 1, start, stop))
    )
    if len(below) != width:
        raise IntegrityError(f"log has lost entries below tile {index} of level {level}")
    return b"".join(below)


def _read_roots(connection: Connection, level: int, start: int, stop: int) -> Sequence[bytes]:
    """Return the roots of full tiles."""
    query = (
        select(log_tiles.c.root)
        .where(log_tiles.c.level == level, log_tiles.c.number >= start, log_tiles.c.number < stop)
        .order_by(log_tiles.c.number)
    )
    return [_blob(each) for each in connection.execute(query).scalars()]


def keep_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint; one of the same size is replaced."""
    connection.execute(delete(checkpoints).where(checkpoints.c.size == checkpoint.size))
    connection.execute(
        insert(checkpoints).values(size=checkpoint.size, note=checkpoint.note, time_ms=checkpoint.time_ms)
    )


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """Return the checkpoint of the largest size."""
    row = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
    return None if row is None else Checkpoint(size=row.size, note=row.note, time_ms=row.time_ms)


def _blob(value: object) -> bytes:
    """Return bytes of the log; SQLite lets a stranger put any other type there, and bytes(n) would be n zeros."""
    if not isinstance(value, bytes):
        raise IntegrityError("log has an entry that is not of bytes", hint="put the database back from a copy")
    return value


def _refuse_span(start: int, stop: int, most: int) -> None:
    """Raise UsageError unless it is a span of the log that is not too long."""
    if not 0 <= start <= stop <= start + most:
        raise UsageError(f"entries {start} to {stop} were asked for, at most {most} at a time are given")
