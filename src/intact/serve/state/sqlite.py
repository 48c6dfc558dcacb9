"""SQLite: a file, for one machine. Written ahead (WAL), and on disk at every commit (synchronous = FULL)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from intact.errors import UsageError
from intact.serve.state.session import Account, Backend, Head, Row, TileRow

BUSY_S: Final = 5.0
"""How long another process may hold the lock."""
PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
)


class Connection(sqlite3.Connection):
    """A connection that knows which file it was meant for."""

    path: str
    file: tuple[int, int]

    def check(self) -> None:
        """Raise OperationalError unless that file is where it was: what is written to another is lost."""
        if _identity(self.path) != self.file:
            raise sqlite3.OperationalError("its file was removed or replaced; start the server again")


class SqliteSession:
    """A session on one connection.

    Args:
        connection: The driver's connection, in autocommit mode.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def begin(self) -> None:
        """Begin, as the only one who writes; the file must still be the one that was opened."""
        self._connection.check()
        self._cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit: the write-ahead log is synced."""
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        """Undo, where something was begun."""
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def head(self) -> Head:
        """Return the head; BEGIN IMMEDIATE locked it."""
        size, frontier, time_ms = self._cursor.execute(
            "SELECT size, frontier, time_ms FROM log_head WHERE id = 1"
        ).fetchone()
        return Head(size=size, frontier=frontier, time_ms=time_ms)

    def accounts(self, grants: Collection[int]) -> Mapping[int, Account]:
        """Return grants."""
        select = "SELECT not_before, not_after, quota, used, revoked FROM grants WHERE id = ?"
        found = ((grant, self._cursor.execute(select, (grant,)).fetchone()) for grant in grants)
        return {
            grant: Account(not_before=row[0], not_after=row[1], quota=row[2], used=row[3], revoked=row[4])
            for grant, row in found
            if row is not None
        }

    def good_keys(self, keys: Collection[str], now: float) -> Collection[str]:
        """Return the keys that are good."""
        select = "SELECT 1 FROM api_keys WHERE id = ? AND revoked IS NULL AND (not_after IS NULL OR not_after >= ?)"
        return {key for key in keys if self._cursor.execute(select, (key, now)).fetchone() is not None}

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return entries."""
        select = "SELECT hash FROM log_entries WHERE position >= ? AND position < ? ORDER BY position"
        return [each for (each,) in self._cursor.execute(select, (start, stop))]

    def roots(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return roots of tiles."""
        select = "SELECT root FROM log_tiles WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
        return [each for (each,) in self._cursor.execute(select, (level, start, stop))]

    def write(self, uses: Mapping[int, int], rows: Sequence[Row], head: Head) -> None:
        """Count, insert, and replace the head."""
        self._cursor.executemany(
            "UPDATE grants SET used = used + ? WHERE id = ?", [(count, grant) for grant, count in uses.items()]
        )
        self._cursor.executemany(
            "INSERT INTO log_entries (position, salt, event, hash) VALUES (?, ?, ?, ?)",
            [(row.position, row.salt, row.event, row.hash) for row in rows],
        )
        self._cursor.execute(
            "UPDATE log_head SET size = ?, frontier = ?, time_ms = ? WHERE id = 1",
            (head.size, head.frontier, head.time_ms),
        )

    def add_tile(self, tile: TileRow) -> None:
        """Insert a full tile."""
        self._cursor.execute(
            "INSERT INTO log_tiles (level, number, hashes, root) VALUES (?, ?, ?, ?)",
            (tile.level, tile.number, tile.hashes, tile.root),
        )


def create(url: URL) -> Engine:
    """Return an engine for a file, which is made, readable by its owner only, where it is not there.

    Raises:
        UsageError: The URL names no file, or the system refuses.
    """
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise UsageError("state in SQLite must be in a file", hint="give a URL such as sqlite:///state.db")
    path = Path(url.database).absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # and is not opened: closing it again would undo the locks that this process may have on it
    except OSError as error:
        raise UsageError(
            f"cannot write state file {str(path)!a}: {error.strerror}", hint="name another with --state"
        ) from None
    held = _identity(str(path))
    address = f"file:{quote(str(path))}?mode=rw"  # a file that is removed later is not made anew

    def connect() -> Connection:
        made = sqlite3.connect(
            address, uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None, factory=Connection
        )
        made.path, made.file = str(path), held or (0, 0)
        made.check()
        return made

    engine = create_engine(
        url.set(database=str(path)), creator=connect, isolation_level="AUTOCOMMIT", hide_parameters=True
    )
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    """Set what a connection must have."""
    for pragma in PRAGMAS:
        connection.execute(pragma).close()


def _identity(path: str) -> tuple[int, int] | None:
    """Return which file is at `path` now; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino


BACKEND: Final = Backend(
    errors=(SQLAlchemyError, sqlite3.Error),
    create=create,
    session=SqliteSession,
    returns=False,
    begin_migration=("BEGIN IMMEDIATE",),
)
