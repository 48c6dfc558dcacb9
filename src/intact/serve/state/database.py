"""A database at a URL: opened and brought up to date, its failures put into words without its password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from intact.errors import UsageError
from intact.seal.revisions import default_folder
from intact.serve.errors import StateUnavailable
from intact.serve.state import postgres, sqlite
from intact.serve.state.schema import NEWEST
from intact.serve.state.session import Backend
from intact.serve.urls import from_file

HINT: Final = "give sqlite:///FILE, or postgresql+pg8000://USER:PASSWORD@HOST:PORT/NAME"
STEPS: Final = Path(__file__).parent / "migrations"
CAUSE_LENGTH: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open database.

    Args:
        engine: SQLAlchemy's engine; every connection commits by itself.
        backend: What is particular to it.
        name: What it is called in errors; shows no password.
    """

    engine: Engine
    backend: Backend
    name: str

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection to read with.

        Raises:
            StateUnavailable: The database cannot be reached or read.
        """
        with self.failures(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn what the driver raises into `StateUnavailable`."""
        try:
            yield
        except self.backend.errors as error:
            raise self.unavailable(error) from None

    def unavailable(self, error: Exception) -> StateUnavailable:
        """Return what to raise for an error of the driver."""
        return StateUnavailable(
            f"state database {self.name} cannot be used: {_cause(error)}",
            hint="nothing is answered until it is back; see that it runs, and that its disk is not full",
        )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def default_url() -> str:
    """Return where state lies for this user, unless told otherwise.

    Raises:
        UsageError: The user has no home.
    """
    return f"sqlite:///{default_folder().parent / 'serve' / 'state.db'}"


def connect(url: str) -> Database:
    """Connect to the database at `url`, or at the URL in the file it names, and bring its tables up to date.

    Raises:
        UsageError: It is no such URL, cannot be reached, or is of a newer version of this package.
    """
    try:
        parsed = make_url(from_file(url))
        port = parsed.port
    except (ArgumentError, ValueError):  # its text may hold a password
        raise UsageError("URL of the state database cannot be understood", hint=HINT) from None
    del port
    backend, parsed = _backend(parsed)
    shown = parsed.set(query={}, password=None if parsed.password is None else "***")
    name = repr(shown.render_as_string(hide_password=True))
    database = Database(engine=backend.create(parsed), backend=backend, name=name)
    try:
        _bring_up_to_date(database)
    except backend.errors as error:
        database.close()
        raise UsageError(
            f"state database {name} cannot be opened: {_cause(error)}",
            hint="see that it runs, and that user, password and name are right",
        ) from None
    except UsageError:
        database.close()
        raise
    return database


def _backend(url: URL) -> tuple[Backend, URL]:
    """Return the backend for a URL, and the URL with its driver."""
    kind = url.get_backend_name()
    if kind == "sqlite" and url.drivername in ("sqlite", "sqlite+pysqlite"):
        return sqlite.BACKEND, url
    if kind == "postgresql" and url.drivername in ("postgresql", postgres.DRIVER):
        if find_spec("pg8000") is None:
            raise UsageError("state in PostgreSQL needs pg8000", hint="pip install 'intact[postgres]'")
        return postgres.BACKEND, url.set(drivername=postgres.DRIVER)
    raise UsageError(f"state cannot lie in {url.drivername!a:.40}", hint=HINT)


def _bring_up_to_date(database: Database) -> None:
    """Take the steps that the database has not taken; others that try at the same time wait."""
    with database.engine.connect() as connection:
        if _step(connection) == NEWEST:
            return
    with database.engine.connect() as connection:
        for statement in database.backend.begin_migration:
            connection.exec_driver_sql(statement)
        try:
            step = _step(connection)
            if step not in (None, NEWEST):
                raise UsageError(
                    f"state database {database.name} is of step {step!a:.40}, which this version does not know",
                    hint="use the version of intact that wrote it, or a newer one",
                )
            if step is None:
                _upgrade(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _step(connection: Connection) -> str | None:
    """Return the last step that was taken; None for none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    """Have alembic take the steps."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(STEPS).replace("%", "%%"))
    command.upgrade(config, "head")


def _cause(error: Exception) -> str:
    """Return in a few words what the driver says; of what it was told, nothing."""
    if isinstance(error, PoolTimeout):
        return "all connections are in use"
    original: Any = getattr(error, "orig", None) or error
    said = original.args[0] if original.args else ""
    if isinstance(said, dict):  # PostgreSQL's fields; M is the message
        said = said.get("M", "")
    return ascii(str(said).partition("\n")[0])[1 : CAUSE_LENGTH + 1].rstrip("'") or type(original).__name__
