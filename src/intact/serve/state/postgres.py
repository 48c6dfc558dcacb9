"""PostgreSQL, through pg8000: for replicas that share what they count and record."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from intact.errors import UsageError
from intact.serve.state.session import Account, Backend, Head, Row, TileRow

DRIVER: Final = "postgresql+pg8000"
TIMEOUT_S: Final = 10
"""How long a connection, or an answer, is waited for."""
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
SETTINGS: Final = (
    "SET synchronous_commit = on",
    "SET statement_timeout = '8s'",
    "SET lock_timeout = '5s'",
    "SET idle_in_transaction_session_timeout = '5s'",  # a replica that hangs holds the others up no longer
)
MIGRATION_LOCK: Final = 0x1A7AC7

STATEMENTS: Final = {
    "head": "SELECT size, frontier, time_ms FROM log_head WHERE id = 1 FOR UPDATE",
    "accounts": "SELECT id, not_before, not_after, quota, used, revoked FROM grants "
    "WHERE id = ANY(CAST(:ids AS bigint[]))",
    "good_keys": "SELECT id FROM api_keys WHERE id = ANY(CAST(:ids AS text[])) AND revoked IS NULL "
    "AND (not_after IS NULL OR not_after >= CAST(:now AS double precision))",
    "leaves": "SELECT hash FROM log_entries WHERE position >= CAST(:start AS bigint) "
    "AND position < CAST(:stop AS bigint) ORDER BY position",
    "roots": "SELECT root FROM log_tiles WHERE level = CAST(:level AS integer) AND number >= CAST(:start AS bigint) "
    "AND number < CAST(:stop AS bigint) ORDER BY number",
    "write": "WITH used AS (UPDATE grants SET used = grants.used + charged.count "
    "FROM unnest(CAST(:ids AS bigint[]), CAST(:counts AS bigint[])) AS charged (id, count) "
    "WHERE grants.id = charged.id), "
    "added AS (INSERT INTO log_entries (position, salt, event, hash) "
    "SELECT position, decode(salt, 'hex'), decode(event, 'hex'), decode(hash, 'hex') FROM unnest("
    "CAST(:positions AS bigint[]), CAST(:salts AS text[]), CAST(:events AS text[]), CAST(:hashes AS text[])) "
    "AS entry (position, salt, event, hash)) "
    "UPDATE log_head SET size = CAST(:size AS bigint), frontier = CAST(:frontier AS bytea), "
    "time_ms = CAST(:time_ms AS bigint) WHERE id = 1",
    "add_tile": "INSERT INTO log_tiles (level, number, hashes, root) VALUES "
    "(CAST(:level AS integer), CAST(:number AS bigint), CAST(:hashes AS bytea), CAST(:root AS bytea))",
}


class PostgresSession:
    """A session on one connection.

    Args:
        connection: The driver's connection, in autocommit mode.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._prepared: dict[str, Any] = {}

    def begin(self) -> None:
        """Begin."""
        self._connection.execute_simple("BEGIN")

    def commit(self) -> None:
        """Commit: synchronous_commit is on."""
        self._connection.execute_simple("COMMIT")

    def rollback(self) -> None:
        """Undo."""
        self._connection.execute_simple("ROLLBACK")

    def head(self) -> Head:
        """Return the head, and lock it."""
        ((size, frontier, time_ms),) = self._run("head")
        return Head(size=size, frontier=frontier, time_ms=time_ms)

    def accounts(self, grants: Collection[int]) -> Mapping[int, Account]:
        """Return grants; asked after the head was locked, so nothing is in between."""
        return {
            grant: Account(not_before=begin, not_after=end, quota=quota, used=used, revoked=revoked)
            for grant, begin, end, quota, used, revoked in self._run("accounts", ids=list(grants))
        }

    def good_keys(self, keys: Collection[str], now: float) -> Collection[str]:
        """Return the keys that are good."""
        return {key for (key,) in self._run("good_keys", ids=list(keys), now=now)} if keys else ()

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return entries."""
        return [each for (each,) in self._run("leaves", start=start, stop=stop)]

    def roots(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return roots of tiles."""
        return [each for (each,) in self._run("roots", level=level, start=start, stop=stop)]

    def write(self, uses: Mapping[int, int], rows: Sequence[Row], head: Head) -> None:
        """Count, insert, and replace the head, in one statement."""
        self._run(
            "write",
            ids=list(uses),
            counts=list(uses.values()),
            positions=[row.position for row in rows],
            salts=[row.salt.hex() for row in rows],
            events=[row.event.hex() for row in rows],
            hashes=[row.hash.hex() for row in rows],
            size=head.size,
            frontier=head.frontier,
            time_ms=head.time_ms,
        )

    def add_tile(self, tile: TileRow) -> None:
        """Insert a full tile."""
        self._run("add_tile", level=tile.level, number=tile.number, hashes=tile.hashes, root=tile.root)

    def _run(self, name: str, **values: Any) -> Any:
        """Run a statement, prepared at its first use: one way there and back instead of three."""
        statement = self._prepared.get(name)
        if statement is None:
            statement = self._prepared[name] = self._connection.prepare(STATEMENTS[name])
        return statement.run(**values)


def create(url: URL) -> Engine:
    """Return an engine for a server. Away from this machine it speaks TLS only, and checks the server's certificate.

    Args:
        url: May have `sslmode` (disable, verify-full) and `sslrootcert`, the authorities' file.

    Raises:
        UsageError: A part of the URL is missing, or is no such setting.
    """
    if not (url.host and url.database and url.username):
        raise UsageError(
            "URL of the state database lacks host, user or name", hint=f"write {DRIVER}://USER:PASSWORD@HOST:PORT/NAME"
        )
    arguments = {"timeout": TIMEOUT_S, "ssl_context": _tls(url), "application_name": "intact"}
    engine = create_engine(
        url.set(query={}),
        isolation_level="AUTOCOMMIT",
        pool_pre_ping=True,
        pool_timeout=TIMEOUT_S,
        hide_parameters=True,
        connect_args=arguments,
    )
    event.listen(engine, "connect", _set_up)
    # a connection that broke cannot be closed in good order: it is replaced, and no traceback of that is printed
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    return engine


def _tls(url: URL) -> ssl.SSLContext | bool:
    """Return how to speak TLS; False for not at all."""
    unknown = sorted(set(url.query) - {"sslmode", "sslrootcert"})
    mode = url.query.get("sslmode", "disable" if url.host in LOCAL else "verify-full")
    authorities = url.query.get("sslrootcert")
    if unknown or mode not in ("disable", "verify-full") or not isinstance(authorities, str | None):
        raise UsageError(
            "URL of the state database has a setting that is not known",
            hint="it takes sslmode=disable, sslmode=verify-full, and sslrootcert=FILE",
        )
    try:
        return False if mode == "disable" else ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise UsageError(f"cannot read sslrootcert {authorities!a}: {error.strerror}") from None


def _set_up(connection: Any, _: Any) -> None:
    """Set what a connection must have.

    The driver sends a long message in two parts, and the system would keep the second back until the server has
    acknowledged the first, which it does 40 ms later.
    """
    connection._usock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    cursor = connection.cursor()
    for setting in SETTINGS:
        cursor.execute(setting)
    if not connection.autocommit:
        connection.commit()
    cursor.close()


def _errors() -> tuple[type[Exception], ...]:
    """Return what SQLAlchemy and the driver raise."""
    try:
        from pg8000.exceptions import Error
    except ImportError:
        return (SQLAlchemyError,)
    return (SQLAlchemyError, Error, OSError)


BACKEND: Final = Backend(
    errors=_errors(),
    create=create,
    session=PostgresSession,
    returns=True,
    begin_migration=("BEGIN", f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"),
)
