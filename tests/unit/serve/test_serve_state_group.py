"""Group commit: what waits together is settled together, and everybody gets their own answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from intact.crypto import Secret
from intact.serve.errors import Busy, GrantRefused, Reason, StateUnavailable
from intact.serve.state import Charge, Denied, Entry, Settler, Store, Terms

MODEL = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=Secret(b"p" * 32))) as opened:
        yield opened


class Held(Store):
    """A store that settles when it is let, and tells how much together."""

    def hold(self) -> None:
        self.gate, self.begun, self.batches = threading.Event(), threading.Event(), list[int]()

    def settle(self, charges: Sequence[Charge]) -> list[Entry | Denied]:
        self.begun.set()
        assert self.gate.wait(30)
        self.batches.append(len(charges))
        return super().settle(charges)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with contextlib.closing(Held.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=Secret(b"p" * 32))) as opened:
        opened.hold()
        yield opened
        opened.gate.set()


def test_what_waits_together_is_settled_together(held: Held) -> None:
    grant = held.add_grant("alice", MODEL, Terms(limit=40))

    async def run() -> list[Entry | BaseException]:
        settler = Settler(held)
        first = asyncio.create_task(settler.settle(Charge(grant.id, b"0", "jwt:x")))
        await asyncio.to_thread(held.begun.wait, 30)
        others = [asyncio.create_task(settler.settle(Charge(grant.id, b"%d" % n, "jwt:x"))) for n in range(1, 50)]
        await asyncio.sleep(0)
        held.gate.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        await settler.drain()
        return found

    found = asyncio.run(run())
    assert held.batches == [1, 49]
    assert [each.index for each in found[:40] if isinstance(each, Entry)] == list(range(1, 41))  # in order of asking
    assert [each.reason for each in found[40:] if isinstance(each, GrantRefused)] == [Reason.USED_UP] * 10
    assert [event for _, event in held.events(1, 41)] == [b"%d" % n for n in range(40)]


def test_too_many_do_not_wait(held: Held) -> None:
    grant = held.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, b"", "jwt:x")

    async def run() -> None:
        settler = Settler(held, most_waiting=3)
        first = asyncio.create_task(settler.settle(charge))
        await asyncio.to_thread(held.begun.wait, 30)
        waiting = [asyncio.create_task(settler.settle(charge)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="3 requests wait") as caught:
            await settler.settle(charge)
        assert caught.value.retry_after_s >= 1
        held.gate.set()
        await asyncio.gather(first, *waiting)
        await settler.drain()

    asyncio.run(run())


def test_draining_settles_what_waits_and_takes_no_more(held: Held) -> None:
    grant = held.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, b"", "jwt:x")

    async def run() -> None:
        settler = Settler(held)
        waiting = [asyncio.create_task(settler.settle(charge)) for _ in range(5)]
        await asyncio.to_thread(held.begun.wait, 30)
        ending = asyncio.create_task(settler.drain())
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="stopping"):
            await settler.settle(charge)
        held.gate.set()
        await ending
        assert len(await asyncio.gather(*waiting)) == 5
        await settler.drain()  # again does nothing

    asyncio.run(run())
    assert held.size() == 6


def test_who_gives_up_holds_nobody_up(held: Held) -> None:
    grant = held.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, b"", "jwt:x")

    async def run() -> Entry:
        settler = Settler(held)
        gone = asyncio.create_task(settler.settle(charge))
        await asyncio.to_thread(held.begun.wait, 30)
        gone.cancel()
        stays = asyncio.create_task(settler.settle(charge))
        await asyncio.sleep(0)
        held.gate.set()
        entry = await stays
        assert gone.cancelled()
        await settler.drain()
        return entry

    assert asyncio.run(run()).index == 2  # the one that was given up is counted and recorded all the same


def test_where_the_database_is_lost_everybody_is_told(store: Store, tmp_path: Path) -> None:
    grant = store.add_grant("alice", MODEL, Terms())
    charge = Charge(grant.id, b"", "jwt:x")
    path = tmp_path / "state.db"

    async def run() -> None:
        settler = Settler(store)
        aside = path.rename(tmp_path / "aside")
        found = await asyncio.gather(*(settler.settle(charge) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(each, StateUnavailable) for each in found)
        assert len({id(each) for each in found}) == 5  # an exception belongs to one
        aside.rename(path)
        assert (await settler.settle(charge)).index == 1
        await settler.drain()

    asyncio.run(run())


def test_what_nobody_thought_of_is_told_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(charges: Sequence[Charge]) -> list[Entry | Denied]:
        raise ZeroDivisionError("with a secret in it")

    monkeypatch.setattr(store, "settle", fail)

    async def run() -> None:
        settler = Settler(store)
        with pytest.raises(StateUnavailable, match="ZeroDivisionError") as caught:
            await settler.settle(Charge(1, b"", "jwt:x"))
        assert "secret" not in str(caught.value)
        await settler.drain()

    asyncio.run(run())
