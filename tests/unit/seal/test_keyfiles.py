"""Key files: made once, private, read back, and compatible with the tools they come from."""

from __future__ import annotations

import stat
from pathlib import Path

import pyrage
import pytest

from intact import seal
from intact.errors import UsageError

NAMES = {"identity.key", "identity.pub", "signing.key", "signing.pub"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    seal.new_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_four_files_with_the_right_modes(keys: Path) -> None:
    assert {path.name for path in keys.iterdir()} == NAMES
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    for path in keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == (0 if path.suffix == ".key" else 0o044)


def test_the_pairs_fit(keys: Path) -> None:
    identity, recipient = seal.load_identity(keys / "identity.key"), seal.load_recipient(keys / "identity.pub")
    key = pyrage.x25519.Identity.from_str(identity.secret.value.decode())
    assert str(key.to_public()) == recipient.public
    signing, verifying = seal.load_signing_key(keys / "signing.key"), seal.load_verifying_key(keys / "signing.pub")
    assert signing.verifying_key.key_id == verifying.key_id


def test_keys_are_taken_as_text_too(keys: Path) -> None:
    private, public = (keys / "identity.key").read_text(), (keys / "identity.pub").read_text()
    assert seal.load_identity(private.splitlines()[1]) == seal.load_identity(keys / "identity.key")
    assert seal.load_recipient(public) == seal.load_recipient(str(keys / "identity.pub"))


def test_two_makings_differ(keys: Path, tmp_path: Path) -> None:
    seal.new_keys(tmp_path / "more")
    for name in NAMES:
        assert (keys / name).read_bytes() != (tmp_path / "more" / name).read_bytes()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_overwritten_and_nothing_left_half(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        seal.new_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "identity.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists already"):
        seal.new_keys(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_the_callers_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write keys"):
        seal.new_keys(tmp_path / "file" / "keys")


def test_wrong_files_are_refused_without_showing_them(keys: Path, tmp_path: Path) -> None:
    private = (keys / "identity.key").read_text().splitlines()[1]
    loads = [
        (seal.load_identity, keys / "identity.pub", "no private key"),
        (seal.load_recipient, keys / "identity.key", "no public key"),
        (seal.load_recipient, private, "no public key"),
        (seal.load_identity, private[:-1] + ("P" if private[-1] == "Q" else "Q"), "no valid identity"),
        (seal.load_recipient, "age1zzz", "no valid recipient"),
        (seal.load_identity, tmp_path / "missing", "cannot read key file"),
        (seal.load_identity, "", "cannot read key file"),
        (seal.load_signing_key, keys / "signing.pub", "no unencrypted PEM private key"),
        (seal.load_verifying_key, keys / "signing.key", "no PEM public key"),
    ]
    for load, source, message in loads:
        with pytest.raises(UsageError, match=message) as caught:
            load(source)
        assert private[20:40] not in str(caught.value)


def test_a_huge_or_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b"#" * (2**16 + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in [("huge", "larger than"), ("binary", "not a text file")]:
        with pytest.raises(UsageError, match=message):
            seal.load_identity(tmp_path / name)
