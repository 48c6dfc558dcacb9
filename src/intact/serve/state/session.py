"""What settling needs of a database, inside one transaction; `sqlite` and `postgres` each have one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import URL, Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The row that is locked first: whoever has it is alone in counting and recording.

    Args:
        size: Entries of the log.
        frontier: `ledger.Frontier`, as bytes.
        time_ms: The latest time that something was recorded.
    """

    size: int
    frontier: bytes
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is looked at again of a grant when it is charged.

    Args:
        not_before: Not before this time; None for at once.
        not_after: Not after this time; None for no end.
        quota: How many requests ever; None for any number.
        used: How many there were.
        revoked: When it was revoked; None where it was not.
    """

    not_before: int | None
    not_after: int | None
    quota: int | None
    used: int
    revoked: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry of the log with what it is made from."""

    position: int
    salt: bytes
    event: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRow:
    """A full tile, and the root over its hashes, which is a hash of the level above."""

    level: int
    number: int
    hashes: bytes
    root: bytes


class Session(Protocol):
    """A connection of the driver's own, told what to do in SQL: the fastest way there is."""

    def begin(self) -> None:
        """Begin a transaction."""

    def commit(self) -> None:
        """Commit; what was written is on disk when this returns."""

    def rollback(self) -> None:
        """Undo."""

    def head(self) -> Head:
        """Return the head, locked: until the transaction ends nobody else passes here."""

    def accounts(self, grants: Collection[int]) -> Mapping[int, Account]:
        """Return the grants of these numbers that there are."""

    def good_keys(self, keys: Collection[str], now: float) -> Collection[str]:
        """Return those of these keys that are neither revoked nor expired."""

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the entries of the log from `start` to before `stop`."""

    def roots(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the roots of full tiles of a level."""

    def write(self, uses: Mapping[int, int], rows: Sequence[Row], head: Head) -> None:
        """Count uses of grants, insert entries, replace the head."""

    def add_tile(self, tile: TileRow) -> None:
        """Insert a full tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A database that state can lie in.

    Args:
        errors: What SQLAlchemy and its driver raise.
        create: Makes an engine for a URL; connects to nothing yet.
        session: Makes a session of a connection of the driver.
        returns: Whether it is a server, which may break a connection and be there again for the next.
        begin_migration: SQL that begins a transaction in which one process at a time brings tables up to date.
    """

    errors: tuple[type[Exception], ...]
    create: Callable[[URL], Engine]
    session: Callable[[Any], Session]
    returns: bool
    begin_migration: tuple[str, ...]
