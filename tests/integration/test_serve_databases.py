"""What the unit tests show of the store on SQLite, on a real PostgreSQL: same answers, same log, same errors."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from intact.crypto import Secret
from intact.errors import UsageError
from intact.ledger.tiles import Levels
from intact.ledger.tree import leaf_hash
from intact.serve.errors import Reason, StateUnavailable
from intact.serve.state import Charge, Denied, Role, Store, Terms, settling
from intact.serve.state.schema import metadata
from support import databases

MODEL = "ab" * 32
PEPPER = Secret(b"p" * 32)


@pytest.fixture(scope="module")
def cluster() -> Iterator[databases.Postgres]:
    with databases.postgres() as server:
        yield server


@pytest.fixture
def store(cluster: databases.Postgres) -> Iterator[Store]:
    with contextlib.closing(Store.open(cluster.url(), pepper=PEPPER)) as opened:
        yield opened


def test_the_steps_make_the_tables_of_the_schema(store: Store) -> None:
    with store._database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_many_who_come_first_at_once_make_one_log(cluster: databases.Postgres) -> None:
    url = cluster.url()
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store.open(url), range(6)))
    assert [each.size() for each in stores] == [0] * 6
    for each in stores:
        each.close()


def test_keys_grants_and_roles(store: Store) -> None:
    text, key = store.add_key("alice", Role.AUDITOR)
    principal = store.find_key(text.value.decode())
    assert principal is not None
    assert principal.role is Role.AUDITOR
    few, plain = (store.add_grant("alice", MODEL, Terms(limit=limit, rate="9/hour")) for limit in (1, None))
    assert store.find_grant("alice", MODEL) == few
    charges = [Charge(few.id, b"a", key.id), Charge(few.id, b"b", "jwt:x"), Charge(999, b"c", "jwt:x")]
    results = store.settle([*charges, Charge(plain.id, b"d", "unknown1"), Charge(plain.id, b"e", key.id)])
    assert [each.reason if isinstance(each, Denied) else each.index for each in results] == [
        3,
        Reason.USED_UP,
        Reason.NO_GRANT,
        Reason.CREDENTIAL,
        4,
    ]
    assert [event for _, event in store.events(3, 5)] == [b"a", b"e"]
    found = store.find_grant("alice", MODEL)
    assert found is not None
    assert found.id == plain.id
    store.revoke_grant(plain.id)
    store.revoke_key(key.id)
    assert store.find_key(text.value.decode()) is None
    assert store.settle([Charge(plain.id, b"", "jwt:x")]) == [Denied(Reason.REVOKED)]
    store.set_role("oidc:bob", Role.ADMIN)
    store.set_role("oidc:bob", Role.AUDITOR)
    assert store.role_of("oidc:bob") is Role.AUDITOR


def test_tiles_are_those_of_the_entries(store: Store) -> None:
    with store._writer.transaction() as desk:
        moment = settling.Moment(ms=int(1e12), longest=0)
        settling.record(desk.session, desk.session.head(), [b"x"] * 600, moment, uses={})
    grant = store.add_grant("alice", MODEL, Terms())
    store.settle([Charge(grant.id, b"y", "jwt:x")] * 20)
    size, levels = store.size(), Levels()
    entries = store.entry_hashes(0, size)
    for tile, data in [*levels.append([leaf_hash(each) for each in entries]), *levels.rest()]:
        assert tile.level is not None
        assert store.tile(tile.level, tile.index, tile.width) == data
    store.checkpoint_now(lambda size, root: f"one {size}")
    store.checkpoint_now(lambda size, root: f"two {size}")
    latest = store.latest_checkpoint()
    assert latest is not None
    assert latest.note == f"two {size}"


def test_tallies_of_replicas_are_one(store: Store, cluster: databases.Postgres) -> None:
    with contextlib.closing(Store.open(cluster.url_of(f"state{cluster.made}"), clock=lambda: 6e9)) as other:
        other.count_alarm(MODEL, "range", "flag")
        other.count_refusal(MODEL, "alice", "x")
        other._tallies.flush()
        other.count_refusal(MODEL, "alice", "x")
        other._tallies.flush()
    assert [each.count for each in store.refusals(0)] == [2]
    assert [each.count for each in store.alarms(0)] == [1]


def test_a_change_is_seen_by_the_other_replica_at_once(store: Store, cluster: databases.Postgres) -> None:
    with contextlib.closing(Store.open(cluster.url_of(f"state{cluster.made}"), pepper=PEPPER)) as other:
        text, key = store.add_key("alice")
        grant = other.add_grant("alice", MODEL, Terms())
        charge = Charge(grant.id, b"", key.id)
        assert not isinstance(store.settle([charge])[0], Denied)
        other.revoke_key(key.id)
        assert store.settle([charge]) == [Denied(Reason.CREDENTIAL)]
        assert other.find_key(text.value.decode()) is None


def test_a_replica_that_hangs_with_the_lock_does_not_hold_the_others_for_ever(
    store: Store, cluster: databases.Postgres
) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    with contextlib.closing(Store.open(cluster.url_of(f"state{cluster.made}"))) as other:
        desk = other._writer._begun()
        desk.session.head()  # and then nothing
        for _ in range(3):
            with contextlib.suppress(StateUnavailable):
                store.settle([Charge(grant.id, b"", "jwt:x")])
                break
        else:
            raise AssertionError("the lock was not taken from it")


def test_wrong_passwords_and_names_are_told_at_the_start(cluster: databases.Postgres) -> None:
    for url in (
        cluster.url_of("nowhere"),
        cluster.url_of("postgres").replace("p%23ss", "hunter2"),
        cluster.url_of("postgres").replace("intact:", "nobody:"),
    ):
        with pytest.raises(UsageError, match="cannot be opened") as caught:
            Store.open(url)
        said = f"{caught.value.message} {caught.value.hint}"
        assert "word" not in said.replace("password", "")
        assert "hunter2" not in said


def test_a_server_that_is_gone_is_unavailable_and_found_again(store: Store, cluster: databases.Postgres) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, b"", "jwt:x")
    store.settle([charge])
    cluster.stop()
    try:
        for act in (lambda: store.settle([charge]), store.size, lambda: store.add_key("bob"), store.grants):
            with pytest.raises(StateUnavailable, match="cannot be used") as caught:
                act()
            assert "p#ss" not in str(caught.value)
    finally:
        cluster.start()
    assert not isinstance(store.settle([charge])[0], Denied)
    assert store.size() == 3


def test_no_part_of_a_message_is_kept_back(store: Store) -> None:
    with store._database.reading() as connection:
        found = connection.connection.driver_connection._usock  # type: ignore[union-attr]
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
