"""Writing whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from intact.errors import UsageError
from intact.seal.staging import staged, write_file


def test_the_directory_appears_at_the_end(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as part:
        assert part.parent == tmp_path
        write_file(part / "file", [b"one", memoryview(b"two")])
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "file").read_bytes() == b"onetwo"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, UsageError("stop")])
def test_an_error_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error) if isinstance(error, BaseException) else error), staged(tmp_path / "out") as part:
        write_file(part / "file", [b"one"])
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "directory", "full directory", "dangling link"])
def test_what_is_there_is_never_replaced(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    match kind:
        case "file":
            out.write_text("mine")
        case "directory" | "full directory":
            out.mkdir()
        case _:
            out.symlink_to("nowhere")
    if kind == "full directory":
        (out / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="exists already"), staged(out):
        pytest.fail("the block must not run")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="exists already"), staged(out):
        out.mkdir()
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_parent_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"), staged(tmp_path / "a" / "b"):
        pytest.fail("the block must not run")


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    write_file(tmp_path / "file", [b"one"])
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", [b"two"])
