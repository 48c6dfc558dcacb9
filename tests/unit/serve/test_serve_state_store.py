"""The store, on SQLite; tests/integration/test_serve_databases.py runs what differs on PostgreSQL too."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.crypto import Secret
from intact.errors import IntegrityError, UsageError
from intact.ledger import Event, SubtreeHashes, check_consistency, check_inclusion, consistency_proof, inclusion_proof
from intact.ledger import leaf_hash as leaf
from intact.serve.errors import Reason, StateUnavailable
from intact.serve.state import Charge, Denied, Entry, Role, Store, Terms
from intact.serve.state.steady import Steady

MODEL, OTHER = "ab" * 32, "cd" * 32
TOKEN = "jwt:0123"
PEPPER = Secret(b"p" * 32)


@dataclass
class Clock:
    now: float = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{path}", pepper=PEPPER, clock=clock)
    yield opened
    opened.close()


def event(text: str = "") -> bytes:
    return Event(type="answer", time_ms=0, subject="alice", fields={"text": text}).encode()


def reasons(store: Store, *charges: Charge) -> list[Reason | None]:
    return [each.reason if isinstance(each, Denied) else None for each in store.settle(charges)]


# ---- keys


def test_a_key_is_found_until_it_is_revoked(store: Store) -> None:
    text, info = store.add_key("alice", Role.AUDITOR)
    assert len(text) == len("intact_") + 8 + 1 + 43
    found = store.find_key(text.value.decode())
    assert found is not None
    assert (found.subject, found.role, found.credential) == ("alice", Role.AUDITOR, info.id)
    assert store.revoke_key(info.id).revoked is not None
    assert store.find_key(text.value.decode()) is None
    assert [key.id for key in store.keys()] == [info.id]  # noqa: SIM118 - no mapping


def test_a_key_is_good_until_its_end(store: Store, clock: Clock) -> None:
    text, _ = store.add_key("alice", not_after=int(clock.now) + 10)
    clock.now += 10
    assert store.find_key(text.value.decode()) is not None
    clock.now += 1
    assert store.find_key(text.value.decode()) is None


def test_only_the_whole_key_is_found(store: Store) -> None:
    text = store.add_key("alice")[0].value.decode()
    for place in range(len(text)):
        other = "A" if text[place] != "A" else "B"
        assert store.find_key(text[:place] + other + text[place + 1 :]) is None
    for wrong in ("", "intact_", text[:-1], text + "A", f" {text}", text.upper(), "\0", "intact_" + "ü" * 52):
        assert store.find_key(wrong) is None


def test_the_text_of_a_key_is_kept_nowhere(store: Store, path: Path) -> None:
    text, _ = store.add_key("alice")
    secret = text.value.rpartition(b"_")[2] if text.value.count(b"_") == 2 else text.value[16:]
    store.close()
    for file in path.parent.iterdir():
        assert secret not in file.read_bytes()
    assert secret.decode() not in repr(text)


def test_another_pepper_is_noticed(store: Store, path: Path, clock: Clock) -> None:
    text, _ = store.add_key("alice")
    with contextlib.closing(Store.open(f"sqlite:///{path}", pepper=Secret(b"q" * 32), clock=clock)) as other:
        with pytest.raises(UsageError, match="pepper is not the one"):
            other.check_pepper()
        with pytest.raises(UsageError, match="pepper is not the one"):
            other.add_key("bob")
        assert other.find_key(text.value.decode()) is None


def test_there_is_no_pepper_to_check_before_the_first_key(store: Store) -> None:
    store.check_pepper()
    assert store.find_key("intact_abcdefgh_" + "A" * 43) is None


@pytest.mark.parametrize("subject", ["", " ", "a ", "a\nb", "\x1b[0m", "a" * 257, "oidc:alice"])
def test_some_subjects_have_no_keys(store: Store, subject: str) -> None:
    with pytest.raises(UsageError, match="subject"):
        store.add_key(subject)
    assert store.size() == 0


# ---- grants


def test_a_grant_is_found_for_its_subject_and_model_only(store: Store) -> None:
    grant = store.add_grant("alice", MODEL, Terms(limit=3, shows="label"))
    assert store.find_grant("alice", MODEL) == grant
    assert store.find_grant("alice", OTHER) is None
    assert store.find_grant("bob", MODEL) is None
    assert store.find_grant("alice", MODEL, "admin") is None
    assert store.find_grant("Alice", MODEL) is None


def test_a_grant_that_allows_it_is_preferred(store: Store, clock: Clock) -> None:
    now = int(clock.now)
    gone = store.add_grant("alice", MODEL, Terms(not_after=now - 1))
    good = store.add_grant("alice", MODEL, Terms(limit=1))
    later = store.add_grant("alice", MODEL, Terms(not_before=now + 100))
    assert store.find_grant("alice", MODEL) == good
    store.revoke_grant(good.id)
    found = store.find_grant("alice", MODEL)
    assert found is not None
    assert (found.id, found.refusal(clock.now)) == (later.id, Reason.EARLY)
    assert [grant.id for grant in store.grants("alice")] == [gone.id, good.id, later.id]
    assert store.grants("alice", OTHER) == []


@pytest.mark.parametrize("digest", ["", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 32 + "\n"])
def test_a_grant_needs_a_digest(store: Store, digest: str) -> None:
    with pytest.raises(UsageError, match="digest"):
        store.add_grant("alice", digest, Terms())


def test_what_is_not_there_is_not_revoked(store: Store) -> None:
    with pytest.raises(UsageError, match="no grant 7"):
        store.revoke_grant(7)
    with pytest.raises(UsageError, match="no API key"):
        store.revoke_key("nobodys1")


def test_roles_are_for_subjects_of_tokens(store: Store) -> None:
    assert store.role_of("oidc:alice") is Role.CALLER
    store.set_role("oidc:alice", Role.ADMIN)
    store.set_role("oidc:alice", Role.AUDITOR)
    assert store.role_of("oidc:alice") is Role.AUDITOR
    with pytest.raises(UsageError, match="roles are set for subjects of tokens"):
        store.set_role("alice", Role.ADMIN)


def test_every_change_is_in_the_log(store: Store) -> None:
    _, key = store.add_key("alice", Role.ADMIN, by="root")
    grant = store.add_grant("alice", MODEL, Terms(limit=5, rate="10/second"), by="root")
    store.revoke_grant(grant.id, by="eve")
    store.revoke_grant(grant.id, by="eve")  # once is enough
    store.revoke_key(key.id)
    store.set_role("oidc:bob", Role.AUDITOR)
    events = [Event.decode(data) for _, data in store.events(0, store.size())]
    kinds = ["key.new", "grant.add", "grant.revoke", "key.revoke", "role.set"]
    assert [each.type for each in events] == kinds
    assert [each.subject for each in events] == ["alice"] * 4 + ["oidc:bob"]
    assert dict(events[0].fields) == {"key": key.id, "role": "admin", "not_after": None, "by": "root"}
    assert events[1].fields["limit"] == 5
    assert [each.fields["by"] for each in events] == ["root", "root", "eve", "local", "local"]


# ---- settling


def test_every_reason_not_to_charge(store: Store, clock: Clock) -> None:
    now = int(clock.now)
    _, key = store.add_key("alice", not_after=now + 50)
    plain = store.add_grant("alice", MODEL, Terms())
    early = store.add_grant("alice", MODEL, Terms(not_before=now + 100))
    ending = store.add_grant("alice", MODEL, Terms(not_after=now + 100))
    few = store.add_grant("alice", MODEL, Terms(limit=2))
    revoked = store.add_grant("alice", MODEL, Terms())
    store.revoke_grant(revoked.id)
    tries = [Charge(each, event(), TOKEN) for each in (plain.id, early.id, ending.id, revoked.id, 999)]
    expected = [None, Reason.EARLY, None, Reason.REVOKED, Reason.NO_GRANT]
    assert reasons(store, *tries) == expected
    assert reasons(store, *[Charge(few.id, event(), TOKEN)] * 3) == [None, None, Reason.USED_UP]
    assert reasons(store, Charge(few.id, event(), TOKEN)) == [Reason.USED_UP]
    by_key = Charge(plain.id, event(), key.id)
    assert reasons(store, by_key, Charge(plain.id, event(), "unknown1")) == [None, Reason.CREDENTIAL]
    clock.now += 51
    assert reasons(store, by_key) == [Reason.CREDENTIAL]
    clock.now += 50
    assert reasons(store, *tries[1:3]) == [None, Reason.EXPIRED]
    assert [grant.used for grant in store.grants()] == [2, 1, 1, 2, 0]


def test_a_revoked_key_is_charged_no_more(store: Store) -> None:
    _, key = store.add_key("alice")
    grant = store.add_grant("alice", MODEL, Terms())
    assert reasons(store, Charge(grant.id, event(), key.id)) == [None]
    store.revoke_key(key.id)
    assert reasons(store, Charge(grant.id, event(), key.id)) == [Reason.CREDENTIAL]


def test_what_is_denied_leaves_no_trace(store: Store) -> None:
    grant = store.add_grant("alice", MODEL, Terms(limit=1))
    size = store.size()
    store.settle([Charge(grant.id, event(str(n)), TOKEN) for n in range(5)])
    assert store.size() == size + 1
    assert store.settle([Charge(grant.id, event(), TOKEN)] * 5) == [Denied(Reason.USED_UP)] * 5
    assert store.size() == size + 1
    assert store.settle([]) == []


@settings(max_examples=5, deadline=None)
@given(batches=st.lists(st.integers(1, 300), min_size=1, max_size=3))
def test_the_log_proves_what_it_holds(tmp_path_factory: pytest.TempPathFactory, batches: list[int]) -> None:
    path = tmp_path_factory.mktemp("log") / "state.db"
    with contextlib.closing(Store.open(f"sqlite:///{path}", pepper=PEPPER)) as store:
        grant = store.add_grant("alice", MODEL, Terms())
        roots = {}
        for number, count in enumerate(batches):
            entries = store.settle([Charge(grant.id, event(f"{number}-{n}"), TOKEN) for n in range(count)])
            assert [each.index for each in entries if isinstance(each, Entry)] == list(
                range(store.size() - count, store.size())
            )
            store.checkpoint_now(lambda size, root: roots.__setitem__(size, root) or "note")  # type: ignore[func-returns-value]
        size = store.size()
        hashes = SubtreeHashes(store, size)
        for index in {0, size // 2, size - 1}:
            (entry,) = store.entry_hashes(index, index + 1)
            check_inclusion(leaf(entry), index, size, inclusion_proof(index, size, hashes), roots[size])
        for old, root in roots.items():
            check_consistency(old, size, root, roots[size], consistency_proof(old, size, hashes))
        latest = store.latest_checkpoint()
        assert latest is not None
        assert latest.size == size


def test_tiles_of_every_level(store: Store, path: Path) -> None:
    """A log of 65,536 entries and some, of which level 1 is full; most rows are made, not settled, to be quick."""
    from intact.ledger.tiles import Levels
    from intact.serve.state import settling

    grant = store.add_grant("alice", MODEL, Terms())
    with store._writer.transaction() as desk:
        moment = settling.Moment(ms=int(2e12), longest=0)
        head = desk.session.head()
        settling.record(desk.session, head, [b"x"] * 65_530, moment, uses={})
    store.settle([Charge(grant.id, event(), TOKEN)] * 20)
    size = store.size()
    levels = Levels()
    leaves = [leaf(each) for each in [*store.entry_hashes(0, 65_536), *store.entry_hashes(65_536, size)]]
    tiles = [*levels.append(leaves), *levels.rest()]
    assert {(tile.level, tile.width) for tile, _ in tiles} >= {(0, 256), (0, size % 256), (1, 256), (2, 1)}
    for tile, data in tiles:
        assert tile.level is not None
        assert store.tile(tile.level, tile.index, tile.width) == data
    assert store.tile(0, 3, 17) == store.tile(0, 3)[: 17 * 32]


@pytest.mark.parametrize("where", [(0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 0, 0), (0, -1, 1), (-1, 0, 1), (0, 0, 257)])
def test_a_tile_that_is_not_there_is_not_given(store: Store, where: tuple[int, int, int]) -> None:
    store.add_grant("alice", MODEL, Terms())
    with pytest.raises(UsageError, match="no tile"):
        store.tile(*where)


def test_too_much_is_not_read_at_once(store: Store) -> None:
    for start, stop in ((0, 4097), (-1, 0), (2, 1)):
        with pytest.raises(UsageError, match="at a time"):
            store.events(start, stop)
    with pytest.raises(UsageError, match="at a time"):
        store.entry_hashes(0, 65_537)


# ---- what must not happen


def test_a_clock_that_was_set_back_stops_settling(store: Store, clock: Clock) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, event(), TOKEN)
    clock.now -= 59
    assert reasons(store, charge) == [None]
    clock.now -= 2
    with pytest.raises(StateUnavailable, match="set back") as caught:
        store.settle([charge])
    assert "accept-clock" in str(caught.value.hint)
    with pytest.raises(StateUnavailable, match="set back"):
        store.add_key("bob")
    store.accept_clock()
    assert reasons(store, charge) == [None]


def test_a_clock_that_jumps_is_noticed() -> None:
    wall, boot = Clock(), Clock(5.0)
    steady = Steady(wall, boot)
    wall.now += 1000
    boot.now += 950
    assert steady.now() == wall.now
    for jump in (70, -200):
        wall.now += jump
        with pytest.raises(StateUnavailable, match="clock jumped"):
            steady.now()


def test_a_file_that_was_removed_or_replaced_is_not_written(store: Store, path: Path) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, event(), TOKEN)
    store._writer._desk.connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    copy = path.read_bytes()
    store.settle([charge])
    path.unlink()
    for _ in range(2):
        with pytest.raises(StateUnavailable, match="cannot be used"):
            store.settle([charge])
    for name in ("state.db-wal", "state.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.write_bytes(copy)
    for _ in range(2):
        with pytest.raises(StateUnavailable, match=r"removed or replaced|an old copy was put in its place"):
            store.settle([charge])


def test_a_log_that_was_cut_is_not_gone_on_with(store: Store, path: Path, clock: Clock) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    head = sqlite3.connect(path)
    before = head.execute("SELECT size, frontier FROM log_head").fetchone()
    store.settle([Charge(grant.id, event(), TOKEN)] * 3)
    head.execute("UPDATE log_head SET size = ?, frontier = ?", before)
    head.commit()
    with pytest.raises(StateUnavailable, match="it was cut"):
        store.settle([Charge(grant.id, event(), TOKEN)])
    with pytest.raises(IntegrityError, match="log should have 1 entries"):
        Store.open(f"sqlite:///{path}", pepper=PEPPER, clock=clock)
    head.execute("UPDATE log_head SET size = 4, frontier = x'00'")
    head.commit()
    with pytest.raises(IntegrityError, match="frontier"):
        store.size()
    with pytest.raises(StateUnavailable, match="log is damaged"):
        store.settle([Charge(grant.id, event(), TOKEN)])
    head.close()


def test_a_locked_database_is_unavailable_and_comes_back(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    store._writer._desk.connection.exec_driver_sql("PRAGMA busy_timeout = 50")  # type: ignore[union-attr]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateUnavailable, match="database is locked"):
        store.settle([Charge(grant.id, event(), TOKEN)])
    other.execute("ROLLBACK")
    other.close()
    assert reasons(store, Charge(grant.id, event(), TOKEN)) == [None]


def test_a_full_disk_is_unavailable_and_nothing_is_counted(store: Store) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    size = store.size()
    desk = store._writer._desk
    assert desk is not None
    pages = desk.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    desk.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateUnavailable, match="full"):
        for _ in range(50):
            store.settle([Charge(grant.id, event("x" * 4000), TOKEN)] * 4)
            size += 4
    assert store.size() == size
    assert store.grants()[0].used == size - 1


def test_commits_are_synced(store: Store) -> None:
    store.add_grant("alice", MODEL, Terms())
    desk = store._writer._desk
    assert desk is not None
    assert desk.connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    assert desk.connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


# ---- opening


def test_state_is_for_its_owner_only(store: Store, path: Path) -> None:
    store.add_key("alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.parent.iterdir())


def test_state_stays(store: Store, path: Path, clock: Clock) -> None:
    text, _ = store.add_key("alice")
    grant = store.add_grant("alice", MODEL, Terms(limit=2))
    store.settle([Charge(grant.id, event(), TOKEN)])
    store.close()
    with contextlib.closing(Store.open(f"sqlite:///{path}", pepper=PEPPER, clock=clock)) as again:
        assert again.find_key(text.value.decode()) is not None
        assert again.grants()[0].used == 1
        assert again.size() == 3


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "cannot be understood"),
        ("state.db", "cannot be understood"),
        ("sqlite://", "must be in a file"),
        ("sqlite:///:memory:", "must be in a file"),
        ("sqlite:///file:x?uri=true", "must be in a file"),
        ("sqlite:////proc/nowhere/state.db", "cannot write state file"),
        ("mysql://u:hunter2@h/x", "cannot lie in"),
        ("postgresql+psycopg://u:hunter2@h/x", "cannot lie in"),
        ("postgresql://u:hunter2@127.0.0.1:1/x", "cannot be opened"),
        ("postgresql://u:hunter2@127.0.0.1:port/x", "cannot be understood"),
        ("postgresql://127.0.0.1/x", "lacks host, user or name"),
        ("postgresql://u:hunter2@127.0.0.1/x?sslmode=prefer", "not known"),
        ("postgresql://u:hunter2@127.0.0.1/x?password=hunter2", "not known"),
        ("postgresql://u:hunter2@db.example/x?sslrootcert=/nowhere", "cannot read sslrootcert"),
    ],
)
def test_what_cannot_be_opened_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Store.open(url)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint or "sslrootcert" in said


def test_another_file_is_not_taken_for_state(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be read as one" * 100)
    with pytest.raises(UsageError, match="file is not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("not a database")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_file_of_somebody_else_is_not_state(path: Path, store: Store) -> None:
    path.chmod(0o400)
    with pytest.raises(UsageError, match="cannot write state file"):
        Store.open(f"sqlite:///{path}")


# ---- tallies


def test_tallies_are_counted_by_the_minute(store: Store, clock: Clock) -> None:
    for _ in range(3):
        store.count_refusal(MODEL, "alice", Reason.USED_UP)
    store.count_refusal("", "", "no good credential")
    store.count_alarm(MODEL, "range", "flag")
    store._tallies.flush()
    store.count_refusal(MODEL, "alice", Reason.USED_UP)
    clock.now += 60
    store.count_refusal(MODEL, "alice", Reason.USED_UP)
    store._tallies.flush()
    minute = int(clock.now) // 60 * 60
    found = {(each.minute, each.subject): each.count for each in store.refusals(0)}
    assert found == {(minute - 60, ""): 1, (minute - 60, "alice"): 4, (minute, "alice"): 1}
    assert [each.count for each in store.refusals(minute)] == [1]
    assert [(each.check, each.verdict, each.count) for each in store.alarms(0)] == [("range", "flag", 1)]


def test_tallies_are_written_at_the_end(store: Store, path: Path) -> None:
    store.count_refusal(MODEL, "alice", "x")
    store.close()
    with contextlib.closing(Store.open(f"sqlite:///{path}")) as again:
        assert again.refusals(0)[0].count == 1


def test_tallies_wait_for_a_database_that_is_gone(store: Store, path: Path) -> None:
    store.count_refusal(MODEL, "alice", "x")
    aside = path.rename(path.with_name("aside"))
    with pytest.raises(StateUnavailable):
        store._tallies.flush()
    aside.rename(path)
    store.count_refusal(MODEL, "alice", "x")
    store._tallies.flush()
    assert store.refusals(0)[0].count == 2


def test_tallies_of_many_strangers_take_little_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intact.serve.state.tallies.MOST_KINDS", 10)
    for number in range(100):
        store.count_refusal(MODEL, f"s{number}", "x")
    store._tallies.flush()
    found = store.refusals(0)
    assert len(found) <= 11
    assert sum(each.count for each in found) == 100
