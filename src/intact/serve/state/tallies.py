"""What is counted by the minute, and not one by one: refusals, and alarms of the guard. Kept in memory for a second."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

from sqlalchemy import Column, Connection, Table, delete, insert, select, update

from intact.errors import IntactError
from intact.serve.state.schema import alarms, refusals
from intact.serve.state.values import AlarmCount, RefusalCount

EVERY_S: Final = 1.0
MOST_KINDS: Final = 10_000
"""Of more different things in a second, the rest are counted together."""
KEPT_S: Final = 90 * 24 * 3600
MOST_READ: Final = 100_000
OTHERS: Final = "others"

Kind: TypeAlias = tuple[str, int, str, str, str]
"""Table, minute, model, and what the table has besides."""


class Tallies:
    """Counts that a thread writes down.

    Args:
        write: Writes counts into the database; IntactError where it cannot, and then they wait for the next time.
    """

    def __init__(self, write: Callable[[Counter[Kind]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._counts: Counter[Kind] = Counter()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, kind: Kind) -> None:
        """Count one."""
        with self._lock:
            if len(self._counts) >= MOST_KINDS and kind not in self._counts:
                table, minute, model, _, last = kind
                kind = (table, minute, model, OTHERS if table == alarms.name else "", last)
            self._counts[kind] += 1
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._work, name="intact-tallies", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write down what was counted.

        Raises:
            IntactError: It cannot be written; it is kept.
        """
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            self._write(counts)
        except IntactError:
            with self._lock:
                for kind, count in counts.items():
                    if kind in self._counts or len(self._counts) < MOST_KINDS:
                        self._counts[kind] += count
            raise

    def close(self) -> None:
        """Write down the last counts, where it is possible, and end the thread."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(IntactError):
            self.flush()

    def _work(self) -> None:
        while not self._ending.wait(EVERY_S):
            with contextlib.suppress(IntactError):  # the next second tries again
                self.flush()


def write(connection: Connection, counts: Counter[Kind], now: float) -> None:
    """Add counts to the tables, inside a transaction, and forget what is old."""
    for (table, minute, model, one, two), count in sorted(counts.items()):
        which = {alarms.name: alarms, refusals.name: refusals}[table]
        _add(connection, which, (minute, model, one, two), count)
    for which in (alarms, refusals):
        connection.execute(delete(which).where(which.c.minute < int(now) - KEPT_S))


def _add(connection: Connection, table: Table, key: tuple[int, str, str, str], count: int) -> None:
    """Add a count to a row, which is made where it is not there; the head is locked, so nobody makes it meanwhile."""
    columns: list[Column[object]] = list(table.primary_key.columns)
    here = [column == value for column, value in zip(columns, key, strict=True)]
    more = update(table).where(*here).values(count=table.c.count + count)
    if connection.execute(more).rowcount == 0:
        values = {column.name: value for column, value in zip(columns, key, strict=True)}
        connection.execute(insert(table).values(**values, count=count))


def read_refusals(connection: Connection, since: int) -> list[RefusalCount]:
    """Return counts from the minute of `since` on."""
    query = select(refusals).where(refusals.c.minute >= since // 60 * 60).order_by(*refusals.primary_key.columns)
    return [RefusalCount(**row) for row in connection.execute(query.limit(MOST_READ)).mappings()]


def read_alarms(connection: Connection, since: int) -> list[AlarmCount]:
    """Return counts from the minute of `since` on."""
    query = select(alarms).where(alarms.c.minute >= since // 60 * 60).order_by(*alarms.primary_key.columns)
    return [AlarmCount(**row) for row in connection.execute(query.limit(MOST_READ)).mappings()]
