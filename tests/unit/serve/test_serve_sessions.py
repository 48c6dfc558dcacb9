from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from intact.crypto import Secret
from intact.serve.state import Principal, Role, Store
from intact.serve.state.sessions import IDLE_S, LONGEST_S, MOST_OF_ONE, SEEN_EVERY_S
from support import databases

START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgres() -> Iterator[databases.Postgres]:
    with databases.postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return str(request.getfixturevalue("postgres").url())


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    found = Store.open(url, pepper=Secret(bytes(range(32))), clock=clock)
    yield found
    found.close()


def enter(store: Store, role: Role = Role.ADMIN, **options: int) -> tuple[Secret, str]:
    """Log in with a fresh key; return the session's secret and the key's id."""
    key, info = store.add_key("alice", role, **options)
    principal = store.find_key(key.value.decode())
    assert principal is not None
    return store.sessions.begin(principal), info.id


def test_a_session_is_who_logged_in(store: Store) -> None:
    secret, key = enter(store, Role.AUDITOR)
    found = store.sessions.find(secret)
    assert found is not None
    assert found.principal == Principal(subject="alice", role=Role.AUDITOR, credential=key)
    assert store.sessions.find(Secret(bytes(32))) is None


def test_a_session_ends_when_nobody_uses_it(store: Store, clock: Clock) -> None:
    secret, _ = enter(store)
    for _ in range(5):
        clock.now += IDLE_S - 1
        assert store.sessions.find(secret) is not None
    clock.now += IDLE_S + SEEN_EVERY_S + 1
    assert store.sessions.find(secret) is None


def test_a_session_ends_however_much_it_is_used(store: Store, clock: Clock) -> None:
    secret, _ = enter(store)
    while clock.now + IDLE_S / 2 <= START + LONGEST_S:
        clock.now += IDLE_S / 2
        assert store.sessions.find(secret) is not None
    clock.now = START + LONGEST_S + 1
    assert store.sessions.find(secret) is None


def test_a_session_ends_with_its_key(store: Store, clock: Clock) -> None:
    secret, key = enter(store)
    store.revoke_key(key)
    assert store.sessions.find(secret) is None
    secret, _ = enter(store, not_after=int(START) + 10)
    assert store.sessions.find(secret) is not None
    clock.now += 11
    assert store.sessions.find(secret) is None


def test_a_session_ends_with_its_token_and_has_the_role_of_now(store: Store, clock: Clock) -> None:
    def begin(expires: float | None) -> Secret:
        return store.sessions.begin(
            Principal(subject="oidc:bob", role=Role.ADMIN, credential="jwt:" + "0" * 32, expires=expires)
        )

    secret = begin(START + 100)
    found = store.sessions.find(secret)
    assert found is not None
    assert found.principal.role is Role.CALLER  # what is kept now counts, not what was at the log-in
    store.set_role("oidc:bob", Role.AUDITOR)
    found = store.sessions.find(secret)
    assert found is not None
    assert found.principal.role is Role.AUDITOR
    assert store.sessions.find(begin(None)) is None
    clock.now += 101
    assert store.sessions.find(secret) is None


def test_logging_out_ends_it(store: Store) -> None:
    (one, _), (other, _) = enter(store), enter(store)
    store.sessions.end(one)
    store.sessions.end(one)
    assert store.sessions.find(one) is None
    assert store.sessions.find(other) is not None


def test_sessions_do_not_pile_up(store: Store, clock: Clock, url: str) -> None:
    key, _ = store.add_key("alice", Role.ADMIN)
    principal = store.find_key(key.value.decode())
    assert principal is not None
    secrets = []
    for _ in range(MOST_OF_ONE + 3):
        clock.now += 1
        secrets.append(store.sessions.begin(principal))
    good = [store.sessions.find(secret) is not None for secret in secrets]
    assert good == [False] * 3 + [True] * MOST_OF_ONE
    clock.now += LONGEST_S
    store.sessions.begin(principal)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sessions")).scalar() == 1
    engine.dispose()


def test_what_is_kept_opens_nothing(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=Secret(bytes(range(32))))
    secret, _ = enter(store)
    store.close()
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.value not in everything
    assert secret.value.hex().encode() not in everything
