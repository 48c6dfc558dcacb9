"""The journal of finished trials, and the lock on their folder."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.tuning.folder import JOURNAL, LOCK, Journal, locked

ABOUT = {"model": "aa", "calibration data": "bb", "versions": {"intact": "1"}}


def filled(path: Path) -> Journal:
    journal = Journal(path, ABOUT)
    journal.add("k1", "probe", {"layers": {"a": 0.5}}, 1.25)
    journal.add("k2", "check", {"error": 0.125, "same": None}, 2.0)
    return journal


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    filled(tmp_path / JOURNAL)
    again = Journal(tmp_path / JOURNAL, ABOUT)
    assert len(again) == 2
    assert again["k1"] == {"layers": {"a": 0.5}}
    assert again.get("k2") == {"error": 0.125, "same": None}
    assert "k3" not in again
    assert again.get("k3") is None


@pytest.mark.parametrize("kept", range(1, 40))
def test_a_torn_last_line_is_dropped_wherever_it_broke(kept: int, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    filled(path)
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    path.write_bytes(whole[: last + kept])
    again = Journal(path, ABOUT)
    assert len(again) == 1
    assert path.read_bytes() == whole[:last]
    again.add("k2", "check", {"error": 1.0}, 0.0)
    assert Journal(path, ABOUT)["k2"] == {"error": 1.0}


def test_a_torn_first_line_is_as_no_journal(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b'{"journal": 1, "abo')
    assert len(Journal(path, ABOUT)) == 0
    assert json.loads(path.read_text())["about"] == ABOUT


def test_a_damaged_line_before_the_last_is_told(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    filled(path)
    lines = path.read_text().splitlines()
    for broken in ("{", "[1]", '{"key": 3, "result": {}}', '{"key": "x"}'):
        path.write_text("\n".join([lines[0], broken, lines[2]]) + "\n")
        with pytest.raises(IntegrityError, match="line 2"):
            Journal(path, ABOUT)


@pytest.mark.parametrize("key", sorted(ABOUT))
def test_a_foreign_journal_is_refused_and_left_as_it_is(key: str, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    filled(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"differs in {key}"):
        Journal(path, {**ABOUT, key: "other"})
    assert path.read_bytes() == before


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_text('{"trial": 1}\n')
    with pytest.raises(UsageError, match="no journal of this tuner"):
        Journal(path, ABOUT)


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_trials(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("j") / JOURNAL
    path.write_bytes(data)
    with contextlib.suppress(UsageError, IntegrityError):
        assert len(Journal(path, ABOUT)) == 0


def test_two_cannot_hold_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    with locked(folder):
        (folder / "kept").touch()
        with pytest.raises(UsageError, match="another tuner works in"), locked(folder):
            pass
    with locked(folder):
        assert (folder / LOCK).is_file()


def test_a_folder_in_which_nothing_was_kept_goes_away(tmp_path: Path) -> None:
    with locked(tmp_path / "t"):
        assert (tmp_path / "t").is_dir()
    assert not (tmp_path / "t").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match="is no tuning's folder"), locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(UsageError, match="does not exist"), locked(tmp_path / "a" / "b"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot work in"), locked(tmp_path / "file"):
        pass
