"""Alembic's steps make the tables that the code speaks to, once, whoever comes first."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from intact.errors import UsageError
from intact.serve.state import Store
from intact.serve.state.database import STEPS, connect
from intact.serve.state.schema import NEWEST, metadata


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state 100% #1.db'}"


def test_the_steps_make_the_tables_of_the_schema(url: str) -> None:
    database = connect(url)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    database.close()


def test_the_newest_step_is_the_last_one() -> None:
    assert ScriptDirectory(str(STEPS)).get_current_head() == NEWEST


def test_steps_are_in_packages_so_that_they_are_installed() -> None:
    assert {path.parent for path in STEPS.rglob("*.py")} == {path.parent for path in STEPS.rglob("__init__.py")}


def test_many_who_come_first_at_once_make_one_log(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store.open(url), range(8)))
    assert [store.size() for store in stores] == [0] * 8
    for store in stores:
        store.close()


def test_a_newer_database_is_left_alone(url: str) -> None:
    database = connect(url)
    with database.engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(UsageError, match="step '9999', which this version does not know"):
        Store.open(url)


def test_a_step_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from intact.serve.state import database

    def fail(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database, "_upgrade", fail)
        with pytest.raises(KeyboardInterrupt):
            Store.open(url)
    with contextlib.closing(Store.open(url)) as store, store._database.reading() as connection:
        tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
    assert "half" not in tables
    assert "grants" in tables
