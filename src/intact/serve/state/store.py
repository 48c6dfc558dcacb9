"""The store: who may, how much is used, and the log, in one database. Every method may be called from any thread.

Who changes something is told as `by`: the subject of an administrator, or "local" for the command line. Each change
is an event of the log, written in the same transaction.
"""

from __future__ import annotations

import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

from intact.crypto import Secret
from intact.errors import IntegrityError
from intact.ledger import Event
from intact.ledger.event import Kind
from intact.serve.errors import StateUnavailable
from intact.serve.state import credentials, directory, logbook, settling, tallies
from intact.serve.state.database import Database, connect
from intact.serve.state.schema import alarms, refusals
from intact.serve.state.session import Head
from intact.serve.state.sessions import Sessions
from intact.serve.state.steady import Steady
from intact.serve.state.values import (
    AlarmCount,
    Charge,
    Checkpoint,
    Denied,
    Entry,
    Grant,
    KeyInfo,
    Principal,
    RefusalCount,
    Role,
    Terms,
)
from intact.serve.state.writer import Desk, Writer

LOCAL: Final = "local"
NOBODYS: Final = Secret(bytes(32))
"""What a text is compared with that is no key's: it takes as long."""


class Store:
    """A state database, SQLite or PostgreSQL; `Store.open` makes one.

    Args:
        database: The database, up to date.
        pepper: Secret that keys are stored under; None for what `credentials.load_pepper` finds.
        clock: Returns seconds since 1970.
    """

    def __init__(self, database: Database, pepper: Secret | None, clock: Callable[[], float]) -> None:
        self._database = database
        self._writer = Writer(database)
        self._pepper = pepper
        self._clock = clock
        self._steady = Steady(clock)
        self._longest = 0
        self._tallies = tallies.Tallies(self._write_tallies)
        self.sessions = Sessions(database, self._writer, clock)

    @classmethod
    def open(cls, url: str, *, pepper: Secret | None = None, clock: Callable[[], float] = time.time) -> Self:
        """Open the database at `url`, and bring its tables up to date.

        Args:
            url: "sqlite:///FILE" or "postgresql+pg8000://USER:PASSWORD@HOST:PORT/NAME"; or "file:///PATH", where one of
                these is in a file.
            pepper: Secret that keys are stored under. Where it is None: INTACT_PEPPER, the file INTACT_PEPPER_FILE, or
                the user's own file, which is made when the first key is.
            clock: Returns seconds since 1970.

        Raises:
            UsageError: It cannot be reached, is no such database, or is of a newer version; never shows the password.
            IntegrityError: The log is not as long as its head says.
        """
        store = cls(connect(url), pepper, clock)
        try:
            with store._database.reading() as connection:
                store._saw(logbook.checked_length(connection))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Write down what is counted still, and let go of the database."""
        self._tallies.close()
        self._writer.close()
        self._database.close()

    # ---- keys

    def check_pepper(self) -> None:
        """Raise UsageError unless the pepper is the one that the database's keys are stored under."""
        with self._database.reading() as connection:
            known = directory.known_pepper(connection)
            if known is not None:
                directory.settle_pepper(connection, self._load_pepper(make=False))

    def add_key(
        self, subject: str, role: Role = Role.CALLER, *, not_after: int | None = None, by: str = LOCAL
    ) -> tuple[Secret, KeyInfo]:
        """Make a key.

        Args:
            subject: Whom it belongs to; does not begin with "oidc:".
            role: What it may do besides what grants say.
            not_after: When it ends, in seconds since 1970; None for never.
            by: Who makes it.

        Returns:
            Its text, which is kept nowhere, and what is known of it.

        Raises:
            UsageError: The subject or the time cannot be one, or the pepper is another.
            StateUnavailable: The database cannot be reached or written.
        """
        Terms(not_after=not_after)
        with self._changing() as (desk, append):
            known = directory.known_pepper(desk.connection)
            pepper = self._load_pepper(make=known is None)
            directory.settle_pepper(desk.connection, pepper)
            text, info = directory.add_key(desk.connection, pepper, subject, role, not_after, int(self._clock()))
            append("key.new", subject, {"key": info.id, "role": role.value, "not_after": not_after, "by": by})
        return text, info

    def revoke_key(self, key: str, *, by: str = LOCAL) -> KeyInfo:
        """Revoke the key of id `key`, for good. No request is charged to it from now on, on any replica.

        Raises:
            UsageError: There is no such key.
            StateUnavailable: The database cannot be reached or written.
        """
        with self._changing() as (desk, append):
            info, changed = directory.revoke_key(desk.connection, key, int(self._clock()))
            if changed:
                append("key.revoke", info.subject, {"key": info.id, "by": by})
        return info

    def keys(self) -> list[KeyInfo]:
        """Return all keys, revoked ones too, the oldest first."""
        with self._database.reading() as connection:
            return directory.list_keys(connection)

    def find_key(self, text: str) -> Principal | None:
        """Return whose key `text` is; None where it is none, or is not good any more.

        Whether there is a key of that id does not show in the time it takes to compare.
        """
        key = credentials.id_of(text)
        if key is None:
            return None
        with self._database.reading() as connection:
            known = directory.known_pepper(connection)
            found = directory.find_key(connection, key)
        pepper = NOBODYS if known is None else self._load_pepper(make=False)
        info, stored = found or (None, NOBODYS.value)
        same = hmac.compare_digest(credentials.digest(text.encode(), pepper), stored)
        if not same or info is None or not info.good(self._clock()):
            return None
        return Principal(subject=info.subject, role=info.role, credential=info.id, expires=info.not_after)

    # ---- grants and roles

    def add_grant(self, subject: str, model: str, terms: Terms, *, by: str = LOCAL) -> Grant:
        """Let `subject` use the model whose manifest has the digest `model`.

        Raises:
            UsageError: Subject or digest cannot be one.
            StateUnavailable: The database cannot be reached or written.
        """
        with self._changing() as (desk, append):
            grant = directory.add_grant(desk.connection, subject, model, terms, int(self._clock()))
            said = {
                name: getattr(terms, name) for name in ("action", "not_before", "not_after", "limit", "rate", "shows")
            }
            append("grant.add", subject, {"grant": grant.id, "model": model, **said, "by": by})
        return grant

    def revoke_grant(self, grant: int, *, by: str = LOCAL) -> Grant:
        """Revoke a grant, for good. No request is charged to it from now on, on any replica.

        Raises:
            UsageError: There is no such grant.
            StateUnavailable: The database cannot be reached or written.
        """
        with self._changing() as (desk, append):
            found, changed = directory.revoke_grant(desk.connection, grant, int(self._clock()))
            if changed:
                append("grant.revoke", found.subject, {"grant": found.id, "model": found.model, "by": by})
        return found

    def grants(self, subject: str | None = None, model: str | None = None) -> list[Grant]:
        """Return grants, revoked ones too, the oldest first; those of a subject or a model only, where given."""
        with self._database.reading() as connection:
            return directory.list_grants(connection, subject, model)

    def find_grant(self, subject: str, model: str, action: str = "infer") -> Grant | None:
        """Return the oldest grant that allows it now; else the newest there is, whose `refusal` says why; or None."""
        with self._database.reading() as connection:
            return directory.best_grant(connection, subject, model, action, self._clock())

    def set_role(self, subject: str, role: Role, *, by: str = LOCAL) -> None:
        """Give a subject of tokens ("oidc:...") a role.

        Raises:
            UsageError: The subject is none of tokens.
            StateUnavailable: The database cannot be reached or written.
        """
        with self._changing() as (desk, append):
            directory.set_role(desk.connection, subject, role)
            append("role.set", subject, {"role": role.value, "by": by})

    def role_of(self, subject: str) -> Role:
        """Return the role of a subject of tokens; caller where none was set."""
        with self._database.reading() as connection:
            return directory.find_role(connection, subject)

    # ---- charges and the log

    def settle(self, charges: Sequence[Charge]) -> list[Entry | Denied]:
        """Count and record charges, in one durable transaction.

        Args:
            charges: One for each request that is about to be answered.

        Returns:
            For each, in order: an `Entry`, which is counted and on disk for good; or why it is neither.

        Raises:
            StateUnavailable: The database cannot be reached or written, or the clock jumped; nothing may be answered.
        """
        if not charges:
            return []
        moment = self._moment()
        try:
            with self._writer.transaction() as desk:
                results = settling.settle(desk.session, charges, moment)
        except IntegrityError as error:
            raise StateUnavailable(f"log is damaged: {error.message}", hint=error.hint) from None
        self._saw(max((result.index + 1 for result in results if isinstance(result, Entry)), default=0))
        return results

    def size(self) -> int:
        """Return how many entries the log has."""
        with self._database.reading() as connection:
            return logbook.read_frontier(connection).size

    def events(self, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Return salt and event of the entries from `start` to before `stop`, at most 4,096."""
        with self._database.reading() as connection:
            return logbook.read_events(connection, start, stop)

    def entry_hashes(self, start: int, stop: int) -> list[bytes]:
        """Return the entries of the log from `start` to before `stop`, 32 bytes each, at most 65,536."""
        with self._database.reading() as connection:
            return logbook.read_hashes(connection, start, stop)

    def tile(self, level: int, index: int, width: int = 256) -> bytes:
        """Return the first `width` hashes of a tile of the log's tree, joined.

        Raises:
            UsageError: The log has not grown so far.
            IntegrityError: The database has lost it.
        """
        with self._database.reading() as connection:
            return logbook.read_tile(connection, level, index, width)

    def checkpoint_now(self, sign: Callable[[int, bytes], str]) -> Checkpoint:
        """Have the log's size and root signed, and keep the note.

        Args:
            sign: Gets size and root, and returns a signed note.
        """
        with self._database.reading() as connection:
            frontier = logbook.read_frontier(connection)
        made = Checkpoint(
            size=frontier.size, note=sign(frontier.size, frontier.root()), time_ms=int(self._clock() * 1000)
        )
        with self._changing() as (desk, _):
            logbook.keep_checkpoint(desk.connection, made)
        return made

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint of the largest size; None where there is none."""
        with self._database.reading() as connection:
            return logbook.last_checkpoint(connection)

    def accept_clock(self) -> None:
        """Go on from the time it is now, although the log has entries of later; for when the clock was ahead."""
        with self._writer.transaction() as desk:
            head = desk.session.head()
            now_ms = int(self._clock() * 1000)
            desk.session.write({}, [], Head(size=head.size, frontier=head.frontier, time_ms=now_ms))

    # ---- tallies

    def count_refusal(self, model: str, subject: str, reason: str) -> None:
        """Count a refused request; written down within a second or so, and lost where the process is killed before.

        Args:
            model: Digest of the model; "" where none was found.
            subject: Who asked; "" where nobody was identified.
            reason: Why, in up to 64 characters.
        """
        self._tallies.add((refusals.name, self._minute(), model, subject, reason[:64]))

    def count_alarm(self, model: str, check: str, verdict: str) -> None:
        """Count what a check of the guard said; written down as refusals are."""
        self._tallies.add((alarms.name, self._minute(), model, check[:64], verdict[:16]))

    def refusals(self, since: int) -> list[RefusalCount]:
        """Return counts of refusals from the minute of `since` (seconds since 1970) on, the oldest first."""
        with self._database.reading() as connection:
            return tallies.read_refusals(connection, since)

    def alarms(self, since: int) -> list[AlarmCount]:
        """Return counts of alarms from the minute of `since` (seconds since 1970) on, the oldest first."""
        with self._database.reading() as connection:
            return tallies.read_alarms(connection, since)

    # ---- inside

    @contextmanager
    def _changing(self) -> Iterator[tuple[Desk, Callable[[Kind, str, dict[str, Any]], None]]]:
        """Lend a connection in a transaction that nobody else writes in, and a function that appends an event."""
        moment = self._moment()
        with self._writer.transaction() as desk:
            head = settling.locked_head(desk.session, moment)
            events: list[bytes] = []

            def append(kind: Kind, subject: str, fields: dict[str, Any]) -> None:
                events.append(Event(type=kind, time_ms=moment.ms, subject=subject, fields=fields).encode())

            yield desk, append
            settling.record(desk.session, head, events, moment, uses={})
        self._saw(head.size + len(events))

    def _moment(self) -> settling.Moment:
        """Return now, by a clock that has not jumped."""
        return settling.Moment(ms=int(self._steady.now() * 1000), longest=self._longest)

    def _saw(self, size: int) -> None:
        """Remember how long the log was."""
        self._longest = max(self._longest, size)

    def _minute(self) -> int:
        return int(self._clock()) // 60 * 60

    def _load_pepper(self, *, make: bool) -> Secret:
        if self._pepper is None:
            self._pepper = credentials.load_pepper(make=make)
        return self._pepper

    def _write_tallies(self, counts: Counter[tallies.Kind]) -> None:
        with self._changing() as (desk, _):
            tallies.write(desk.connection, counts, self._clock())
