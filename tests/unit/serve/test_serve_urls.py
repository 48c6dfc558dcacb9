from __future__ import annotations

import os
from pathlib import Path

import pytest

from intact.errors import UsageError
from intact.serve.access import Limiter
from intact.serve.state import Store
from intact.serve.state.credentials import load_pepper
from intact.serve.urls import from_file

NOBODY = 65534


def test_a_url_is_itself() -> None:
    assert from_file("sqlite:///state.db") == "sqlite:///state.db"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n"])
def test_a_file_holds_a_url(tmp_path: Path, ending: str) -> None:
    tmp_path.joinpath("url").write_bytes(f"redis://a:b@c:1/0{ending}".encode())
    assert from_file(f"file://{tmp_path / 'url'}") == from_file(f"file:{tmp_path / 'url'}") == "redis://a:b@c:1/0"


@pytest.mark.parametrize("content", [b"", b"\n", b"s3cret\ns3cret", b"s3cret" * 1000, b"\xffs3cret", b"file:///s3cret"])
def test_a_file_that_holds_no_url_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    tmp_path.joinpath("url").write_bytes(content)
    with pytest.raises(UsageError) as told:
        from_file(f"file://{tmp_path / 'url'}")
    assert "s3cret" not in f"{told.value}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        from_file(f"file://{tmp_path / 'url'}")


def test_state_and_redis_are_found_through_files(tmp_path: Path) -> None:
    tmp_path.joinpath("state").write_text(f"sqlite:///{tmp_path / 'state.db'}\n")
    tmp_path.joinpath("redis").write_text("memory://\n")
    Store.open(f"file://{tmp_path / 'state'}").close()
    assert tmp_path.joinpath("state.db").exists()
    Limiter(f"file://{tmp_path / 'redis'}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("owner", "mode", "good"),
    [
        (0, 0o440, True),
        (0, 0o640, True),
        (0, 0o460, False),
        (0, 0o444, False),
        (NOBODY, 0o440, False),
        (NOBODY, 0o400, True),
    ],
)
def test_a_pepper_of_roots_may_be_lent_to_our_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, good: bool
) -> None:
    path = tmp_path / "pepper"
    path.write_text("ab" * 32)
    os.chown(path, owner, NOBODY)
    path.chmod(mode)
    monkeypatch.setenv("INTACT_PEPPER_FILE", str(path))
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    if good:
        assert load_pepper(make=False).value == bytes.fromhex("ab" * 32)
    else:
        with pytest.raises(UsageError, match="can be read by others"):
            load_pepper(make=False)
