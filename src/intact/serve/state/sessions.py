"""Who is logged in to the console: kept in the database, so that every replica knows, and a log-out holds on all.

Only a digest of what the browser has is kept. A session is good as long as its credential is: that is looked at again
each time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from intact.crypto import Secret
from intact.serve.state import directory
from intact.serve.state.database import Database
from intact.serve.state.schema import sessions
from intact.serve.state.values import Principal, is_key
from intact.serve.state.writer import Writer

IDLE_S: Final = 30 * 60
"""A session that nobody used for so long is over."""
LONGEST_S: Final = 12 * 3600
"""And so is every one after this time."""
SEEN_EVERY_S: Final = 60
MOST_OF_ONE: Final = 16
"""Sessions of one credential; the oldest ends where there would be more."""
ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in that is good.

    Args:
        principal: Who.
        created: When they logged in, in seconds since 1970.
    """

    principal: Principal
    created: int


class Sessions:
    """The sessions of a state database. Every method may be called from any thread.

    Args:
        database: The database.
        writer: The connection that writes.
        clock: Returns seconds since 1970.
    """

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], float]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def begin(self, principal: Principal) -> Secret:
        """Begin a session of somebody who just showed a credential.

        Returns:
            What their browser shall show: 256 fresh random bits.

        Raises:
            StateUnavailable: The database cannot be reached or written.
        """
        secret, now = Secret(secrets.token_bytes(ID_BYTES)), int(self._clock())
        with self._writer.transaction() as desk:
            _forget_old(desk.connection, principal.credential, now)
            desk.connection.execute(
                insert(sessions).values(
                    digest=_digest(secret),
                    subject=principal.subject,
                    credential=principal.credential,
                    expires=None if principal.expires is None else int(principal.expires),
                    created=now,
                    seen=now,
                )
            )
        return secret

    def find(self, secret: Secret) -> Session | None:
        """Return the session of a browser; None where there is none, or its time or its credential is over.

        Raises:
            StateUnavailable: The database cannot be reached.
        """
        now, digest = self._clock(), _digest(secret)
        with self._database.reading() as connection:
            row = connection.execute(select(sessions).where(sessions.c.digest == digest)).mappings().first()
            if row is None or now > row["seen"] + IDLE_S or now > row["created"] + LONGEST_S:
                return None
            principal = _principal(connection, row, now)
        if principal is None:
            return None
        if now > row["seen"] + SEEN_EVERY_S:
            with self._writer.transaction() as desk:
                desk.connection.execute(update(sessions).where(sessions.c.digest == digest).values(seen=int(now)))
        return Session(principal=principal, created=row["created"])

    def end(self, secret: Secret) -> None:
        """End a session, on all replicas.

        Raises:
            StateUnavailable: The database cannot be reached or written.
        """
        with self._writer.transaction() as desk:
            desk.connection.execute(delete(sessions).where(sessions.c.digest == _digest(secret)))


def _digest(secret: Secret) -> str:
    """Return what is kept of a session's secret; it has 256 bits, so a plain digest gives nothing away."""
    return hashlib.sha256(secret.value).hexdigest()


def _principal(connection: Connection, row: RowMapping, now: float) -> Principal | None:
    """Return who is behind a session, as of now; None where their credential is not good any more."""
    credential, expires = row["credential"], row["expires"]
    if is_key(credential):
        found = directory.find_key(connection, credential)
        if found is None or not found[0].good(now):
            return None
        role, expires = found[0].role, found[0].not_after
    elif expires is None or now > expires:
        return None
    else:
        role = directory.find_role(connection, row["subject"])
    return Principal(subject=row["subject"], role=role, credential=credential, expires=expires)


def _forget_old(connection: Connection, credential: str, now: int) -> None:
    """Delete what is over, and of one credential's sessions the oldest where there are too many."""
    over = (sessions.c.seen < now - IDLE_S) | (sessions.c.created < now - LONGEST_S)
    connection.execute(delete(sessions).where(over))
    mine = select(sessions.c.digest).where(sessions.c.credential == credential).order_by(sessions.c.created.desc())
    surplus = list(connection.execute(mine.offset(MOST_OF_ONE - 1)).scalars())
    connection.execute(delete(sessions).where(sessions.c.digest.in_(surplus)))
