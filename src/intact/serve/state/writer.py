"""The one connection that writes: transactions follow each other, and a broken connection is replaced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from intact.errors import IntactError
from intact.serve.errors import StateUnavailable
from intact.serve.state.database import Database
from intact.serve.state.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A connection to write with, in both ways to use it.

    Args:
        connection: For statements of SQLAlchemy.
        session: For those that must be fast; owns the transaction.
    """

    connection: Connection
    session: Session


class Writer:
    """Lends its connection to one thread at a time.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._desk: Desk | None = None

    @contextmanager
    def transaction(self) -> Iterator[Desk]:
        """Lend the connection for a transaction, which is committed where the block ends well.

        Raises:
            StateUnavailable: The database cannot be reached or written. Where it was lost while committing, what was
                written may be there nevertheless.
        """
        with self._lock:
            try:
                desk = self._begun()
                yield desk
                desk.session.commit()
            except self._database.backend.errors as error:
                self._undo(keep=False)
                raise self._database.unavailable(error) from None
            except BaseException as error:
                self._undo(keep=isinstance(error, IntactError) and not isinstance(error, StateUnavailable))
                raise

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._undo(keep=False)

    def _begun(self) -> Desk:
        """Return the connection, inside a transaction; where it broke while nobody used it, a fresh one."""
        if self._desk is not None:
            try:
                self._desk.session.begin()
                return self._desk
            except self._database.backend.errors:
                if not self._database.backend.returns:
                    raise
                self._undo(keep=False)
        desk = self._connect()
        desk.session.begin()
        return desk

    def _connect(self) -> Desk:
        """Return a fresh connection."""
        connection = self._database.engine.connect()
        raw: Any = connection.connection.driver_connection
        self._desk = Desk(connection=connection, session=self._database.backend.session(raw))
        return self._desk

    def _undo(self, *, keep: bool) -> None:
        """Undo the transaction; with `keep`, where it can be undone, the connection stays."""
        desk, failures = self._desk, self._database.backend.errors
        if desk is None:
            return
        try:
            desk.session.rollback()
        except failures:
            keep = False
        if not keep:
            self._desk = None
            with contextlib.suppress(*failures):
                desk.connection.invalidate()
            with contextlib.suppress(*failures):
                desk.connection.close()
