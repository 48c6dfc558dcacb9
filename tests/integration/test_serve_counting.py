"""Counting is atomic, and what was acknowledged is there: on SQLite, on PostgreSQL, across processes, after kills."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from intact.serve.state import Store, Terms
from support import charging, databases

LIMIT = 1000
MODEL = "ab" * 32
WAIT_S = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[databases.Postgres]:
    with databases.postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh state database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: databases.Postgres = request.getfixturevalue("cluster")
    return server.url()


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    stores: list[Store] = []

    def open_it() -> Store:
        stores.append(Store.open(url))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def log_of(store: Store) -> list[tuple[bytes, bytes]]:
    """The whole log, held against its own tree."""
    size = store.size()
    found = [pair for start in range(0, size, 4096) for pair in store.events(start, min(size, start + 4096))]
    hashes = store.entry_hashes(0, size)
    assert [sha256(salt + event).digest() for salt, event in found] == hashes
    made = store.checkpoint_now(lambda size, root: f"{size} {root.hex()}")
    assert made.note == f"{size} {root_of(hashes).hex()}"
    return found


def root_of(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    half = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(entries[:half]) + root_of(entries[half:])).digest()


def test_exactly_as_many_succeed_as_were_granted(url: str, opened: Callable[[], Store]) -> None:
    store = opened()
    grant = store.add_grant("alice", MODEL, Terms(limit=LIMIT))
    processes = [charging.start(url, grant.id, callers=16, tries=40) for _ in range(2)]
    told = [lines(process.communicate(timeout=WAIT_S)[0]) for process in processes]
    counts = [each[-1] for each in told]
    assert sum(count["granted"] for count in counts) == LIMIT
    assert sum(count["denied"] for count in counts) == 2 * 16 * 40 - LIMIT
    assert all(count["granted"] > 0 for count in counts)
    indices = sorted(index for each in told for index, _, _ in each[:-1])
    assert indices == list(range(1, LIMIT + 1))  # 0 is the grant itself
    assert store.grants()[0].used == LIMIT
    assert len(log_of(store)) == LIMIT + 1


def test_a_killed_process_loses_nothing_it_acknowledged(url: str, opened: Callable[[], Store]) -> None:
    store = opened()
    grant = store.add_grant("alice", MODEL, Terms())
    acknowledged = 0
    for _ in range(2):
        process = charging.start(url, grant.id, callers=8, tries=100_000)
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
        process.wait(WAIT_S)
        process.stdout.close()
        acknowledged += check(store, [line for line in seen if line.endswith("\n")])
    used = store.grants()[0].used
    assert used == store.size() - 1  # the count and the record never differ
    assert acknowledged <= used <= acknowledged + 2 * 9  # what was under way when it was killed, and a line cut short
    log_of(store)


def check(store: Store, told: list[str]) -> int:
    """Find every acknowledged entry in the log; return how many there are."""
    for line in told:
        index, salt, text = json.loads(line)
        assert store.events(index, index + 1) == [(bytes.fromhex(salt), charging.event(text))]
    return len(told)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_killed_database_loses_nothing_and_comes_back(
    cluster: databases.Postgres, opened: Callable[[], Store], url: str
) -> None:
    store = opened()
    grant = store.add_grant("alice", MODEL, Terms())
    process = charging.start(url, grant.id, callers=8, tries=100_000)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(100)]
    cluster.stop(signal.SIGQUIT)  # at once, as in a crash: the next start recovers from its log
    cluster.start()
    seen += [process.stdout.readline() for _ in range(100)]  # the same process goes on by itself
    process.kill()
    seen += process.stdout.readlines()
    process.wait(WAIT_S)
    process.stdout.close()
    assert until(lambda: store.size() > 0)
    acknowledged = check(store, [line for line in seen if line.endswith("\n")])
    assert acknowledged >= 200
    assert store.grants()[0].used == store.size() - 1
    log_of(store)


def until(done: Callable[[], bool]) -> bool:
    """Wait until `done` is true, and does not fail."""
    from intact.serve.errors import StateUnavailable

    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if done():
                return True
        except StateUnavailable:
            pass
        time.sleep(0.1)
    return False
