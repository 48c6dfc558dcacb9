"""`intact grants` and `intact apikeys`, as an administrator meets them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import intact
from intact import seal
from intact.crypto import sha256
from intact.pipeline import artifact
from intact.serve.state import Role, Store
from support.nets import cnn, data

DIGEST = "ab" * 32
Command = Callable[..., Any]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INTACT_STATE", raising=False)
    return f"sqlite:///{tmp_path / 'state.db'}"


def test_a_key_is_printed_once(command: Command, state: str) -> None:
    told = command(
        "apikeys", "new", "alice", "--role", "admin", "--not-after", "2099-01-01T00:00:00Z", "--state", state
    )
    assert told.code == 0
    key = told.out.strip()
    assert "shown this once" in told.err
    with contextlib.closing(Store.open(state)) as store:
        found = store.find_key(key)
        assert found is not None
        assert found.role is Role.ADMIN
    listed = command("apikeys", "list", "--state", state)
    assert key[7:15] in listed.out
    assert "until 2099-01-01T00:00:00Z" in listed.out
    assert key[16:] not in listed.out
    revoked = command("apikeys", "revoke", key[7:15], "--state", state, "--json").json
    assert revoked["revoked"] is not None
    with contextlib.closing(Store.open(state)) as store:
        assert store.find_key(key) is None


def test_a_grant_is_added_listed_and_revoked(command: Command, state: str) -> None:
    terms = ("--limit", 1000, "--rate", "100/minute", "--shows", "top-3", "--not-before", "2027-01-01T00:00:00+01:00")
    added = command("grants", "add", "alice", "--digest", DIGEST, *terms, "--state", state, "--json").json
    expected = {"subject": "alice", "model": DIGEST, "limit": 1000, "rate": "100/minute", "shows": "top-3", "used": 0}
    assert expected.items() <= added.items()
    assert added["not_before"] == "2026-12-31T23:00:00Z"
    assert "used 0 of 1000" in command("grants", "list", "--state", state).out
    assert command("grants", "list", "--subject", "bob", "--state", state, "--json").json == {"grants": []}
    assert "nobody may use" in command("grants", "list", "--digest", "cd" * 32, "--state", state).out
    assert "revoked" in command("grants", "revoke", added["grant"], "--state", state).out


def test_the_digest_of_a_model_is_that_of_its_manifest(
    command: Command, state: str, tmp_path: Path, keys: intact.Keys
) -> None:
    built = intact.build(intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8)), engines=["onnxruntime"])
    seal.write(artifact.payload(built), tmp_path / "m.intact", recipients=[keys.recipient], signer=keys.signer)
    added = command("grants", "add", "alice", "--model", tmp_path / "m.intact", "--state", state, "--json").json
    assert added["model"] == sha256((tmp_path / "m.intact" / "manifest.json").read_bytes())
    assert added["model"] == sha256(seal.inspect(tmp_path / "m.intact").manifest.to_bytes())
    assert command("inspect", tmp_path / "m.intact", "--json").json["digest"] == added["model"]


def test_roles_of_tokens(command: Command, state: str) -> None:
    assert command("grants", "role", "oidc:alice", "auditor", "--state", state).code == 0
    with contextlib.closing(Store.open(state)) as store:
        assert store.role_of("oidc:alice") is Role.AUDITOR


def test_the_clock_is_accepted(command: Command, state: str) -> None:
    with contextlib.closing(Store.open(state, clock=lambda: 7e9)) as store:
        store.set_role("oidc:alice", Role.ADMIN)
    told = command("grants", "role", "oidc:alice", "caller", "--state", state)
    assert told.code == 2
    assert "accept-clock" in told.err
    assert command("grants", "accept-clock", "--state", state).code == 0
    assert command("grants", "role", "oidc:alice", "caller", "--state", state).code == 0


def test_state_is_named_by_the_environment_or_is_ones_own(command: Command, state: str, tmp_path: Path) -> None:
    assert command("apikeys", "list", INTACT_STATE=state).code == 0
    assert (tmp_path / "state.db").exists()
    assert command("apikeys", "list").code == 0
    assert (tmp_path / "home" / "intact" / "serve" / "state.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("grants", "add", "alice"), "no model is named"),
        (("grants", "add", "alice", "--digest", "x"), "digest"),
        (("grants", "add", "alice", "--digest", DIGEST, "--model", "m.intact"), "both --model and --digest"),
        (("grants", "add", "alice", "--model", "nowhere.intact"), "cannot read artifact"),
        (("grants", "add", "alice", "--digest", DIGEST, "--rate", "fast"), "rate"),
        (("grants", "add", "alice", "--digest", DIGEST, "--shows", "half"), "shows"),
        (("grants", "add", "alice", "--digest", DIGEST, "--not-after", "tomorrow"), "no time"),
        (("grants", "add", "", "--digest", DIGEST), "subject"),
        (("grants", "revoke", "7"), "no grant 7"),
        (("grants", "role", "alice", "admin"), "subjects of tokens"),
        (("grants", "role", "oidc:alice", "king"), "no role"),
        (("apikeys", "new", "oidc:alice"), "only those of tokens"),
        (("apikeys", "new", "alice", "--role", "king"), "no role"),
        (("apikeys", "revoke", "nobodys1"), "no API key"),
    ],
)
def test_mistakes_are_named(command: Command, state: str, words: tuple[str, ...], said: str) -> None:
    told = command(*words, "--state", state)
    assert told.code == 2
    assert said in told.err
    assert "hint:" in told.err or "artifact" in said
