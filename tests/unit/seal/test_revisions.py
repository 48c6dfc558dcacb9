"""The store of opened revisions: rises only, whoever writes at the same time; damage is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.seal import revisions
from intact.seal.revisions import Revisions, default_folder

NAME = "0123456789abcdef" * 2
NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Revisions:
    return Revisions(folder=tmp_path / "state" / "revisions")


def test_nothing_is_remembered_at_first(store: Revisions) -> None:
    assert (store.recall(NAME).highest, store.recall(NAME).minimum, store.last_opened()) == (1, 1, 0)
    store.check(NAME, 1, allow_older=False)
    assert not store.folder.exists()  # looking leaves no trace


def test_what_is_remembered_comes_back(store: Revisions) -> None:
    store.remember(NAME, 5, 3, NOW)
    found = Revisions(folder=store.folder)
    assert (found.recall(NAME).highest, found.recall(NAME).minimum, found.last_opened()) == (5, 3, int(NOW))
    assert found.recall("f" * 32).highest == 1


def test_only_its_user_can_read_it(store: Revisions) -> None:
    store.remember(NAME, 5, 3, NOW)
    assert store.folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.folder.iterdir())


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1e5)), max_size=8))
def test_what_is_remembered_only_rises(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, float]]
) -> None:
    store, last = Revisions(folder=tmp_path_factory.mktemp("state") / "r"), (1, 1, 0)
    for revision, minimum, now in steps:
        store.remember(NAME, revision, min(revision, minimum), NOW + now)
        seen = store.recall(NAME)
        here = (seen.highest, seen.minimum, store.last_opened())
        assert all(new >= old for new, old in zip(here, last, strict=True))
        assert seen.highest >= revision
        assert seen.minimum >= min(revision, minimum)
        assert store.last_opened() > NOW + now - revisions.STEP_S - 1
        last = here


def test_opening_the_same_again_writes_nothing(store: Revisions) -> None:
    store.remember(NAME, 5, 3, NOW)
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    store.remember(NAME, 5, 3, NOW + revisions.STEP_S)
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    store.remember(NAME, 5, 3, NOW + revisions.STEP_S + 2)
    assert store.last_opened() > NOW


PROCESS = """
import sys
from pathlib import Path
from intact.seal.revisions import Revisions
store, start = Revisions(folder=Path(sys.argv[1])), int(sys.argv[2])
for step in range(25):
    store.remember("%s", start + 3 * step, 1 + step, 1_800_000_000.0 + step)
    assert store.recall("%s").highest >= start + 3 * step
"""


def test_several_processes_lose_nothing(store: Revisions) -> None:
    code = PROCESS % (NAME, NAME)
    running = [subprocess.Popen([sys.executable, "-c", code, str(store.folder), str(start)]) for start in (1, 2, 3)]
    assert [each.wait(timeout=120) for each in running] == [0, 0, 0]
    assert store.recall(NAME).highest == 3 + 3 * 24
    assert {path.name for path in store.folder.iterdir()} == {f"{NAME}.json", "clock.json", "lock"}


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def spoil_text(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))


def spoil_zero(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"highest":5', b'"highest":0').replace(b'"seen":1', b'"seen":-1'))


def spoil_field(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{", b'{"a":1,'))


def spoil_endless(path: Path) -> None:
    path.write_bytes(b" " * 2**20)


@pytest.mark.parametrize("name", [f"{NAME}.json", "clock.json"])
@pytest.mark.parametrize("spoil", [spoil_empty, spoil_cut, spoil_text, spoil_zero, spoil_field, spoil_endless])
def test_what_is_damaged_is_refused(store: Revisions, name: str, spoil: Callable[[Path], None]) -> None:
    store.remember(NAME, 5, 3, NOW)
    spoil(store.folder / name)
    with pytest.raises(IntegrityError, match="what is remembered of opened revisions is damaged") as refused:
        (store.last_opened if name == "clock.json" else lambda: store.check(NAME, 9, allow_older=True))()
    assert name in refused.value.message
    assert "put back a copy" in (refused.value.hint or "")
    with pytest.raises(IntegrityError, match="is damaged"):
        store.remember(NAME, 9, 3, 2 * NOW)  # and is not written over


def test_a_link_is_not_followed(store: Revisions, tmp_path: Path) -> None:
    store.remember(NAME, 5, 3, NOW)
    (store.folder / f"{NAME}.json").rename(tmp_path / "elsewhere")
    (store.folder / f"{NAME}.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot read what is remembered"):
        store.recall(NAME)


def test_where_nothing_can_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot (read|write) what is remembered") as refused:
        Revisions(folder=tmp_path / "file" / "state").remember(NAME, 2, 1, NOW)
    assert "--no-revisions" in (refused.value.hint or "")


def test_a_failed_write_leaves_what_was(store: Revisions, monkeypatch: pytest.MonkeyPatch) -> None:
    store.remember(NAME, 5, 3, NOW)
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        store.remember(NAME, 6, 3, NOW)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_the_default_folder_is_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "intact" / "revisions"
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in ("", "relative/path"):  # which the specification says to ignore
        monkeypatch.setenv("XDG_STATE_HOME", other)
        assert default_folder() == tmp_path / ".local" / "state" / "intact" / "revisions"
