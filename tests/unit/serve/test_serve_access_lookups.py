"""Who asks and by which grant: looked up once for all who ask together, remembered for half a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from intact.crypto import Secret
from intact.serve.access import Authenticator, Permits
from intact.serve.access import remembered as remembering
from intact.serve.access.remembered import Remembered
from intact.serve.errors import Busy, CredentialRefused, GrantRefused, Reason
from intact.serve.state import Store, Terms

MODEL = "ab" * 32
WITHIN_S = 1.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=Secret(b"p" * 32))) as opened:
        yield opened


def test_who_asks_together_waits_for_one_answer() -> None:
    asked, gate = [], threading.Event()

    def look_up() -> int:
        asked.append(1)
        assert gate.wait(30)
        return 7

    async def run() -> None:
        lookups: Remembered[str, int] = Remembered("test")
        tasks = [asyncio.create_task(lookups.get("a", look_up)) for _ in range(20)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()  # takes no answer from the others
        gate.set()
        assert await asyncio.gather(*tasks[1:]) == [7] * 19
        assert await lookups.get("a", look_up) == 7
        assert len(asked) == 1
        lookups.close()

    asyncio.run(run())


def test_an_answer_is_remembered_no_longer_than_it_may() -> None:
    now, answers = [0.0], iter(range(9))

    async def run() -> None:
        lookups: Remembered[str, int] = Remembered("test", clock=lambda: now[0])
        found = []
        for moment in (0.0, 0.49, 0.5, 0.9, 1.1):
            now[0] = moment
            found.append(await lookups.get("a", lambda: next(answers)))
        assert found == [0, 0, 1, 1, 2]
        lookups.close()

    asyncio.run(run())


def test_a_failure_is_not_remembered() -> None:
    async def run() -> None:
        lookups: Remembered[str, int] = Remembered("test")
        with pytest.raises(ZeroDivisionError):
            await lookups.get("a", lambda: 1 // 0)
        assert await lookups.get("a", lambda: 1) == 1
        lookups.close()

    asyncio.run(run())


def test_what_is_remembered_and_looked_up_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_REMEMBERED", 5)
    monkeypatch.setattr(remembering, "MOST_PENDING", 6)
    gate = threading.Event()

    async def run() -> None:
        lookups: Remembered[int, bool] = Remembered("test")
        tasks = [asyncio.create_task(lookups.get(number, lambda: gate.wait(30))) for number in range(6)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await lookups.get(7, lambda: True)
        gate.set()
        await asyncio.gather(*tasks)
        assert len(lookups._known) <= 5
        lookups.close()

    asyncio.run(run())


def test_a_key_opens_until_it_is_revoked(store: Store) -> None:
    text, info = store.add_key("alice")
    header = f"Bearer {text.value.decode()}"

    async def run() -> None:
        authenticator = Authenticator(store)
        assert (await authenticator.identify(header)).subject == "alice"
        store.revoke_key(info.id)
        end = time.monotonic() + WITHIN_S
        with pytest.raises(CredentialRefused):
            while time.monotonic() < end:
                await authenticator.identify(header)
                await asyncio.sleep(0.01)
        authenticator.close()

    asyncio.run(run())


def test_no_credential_is_kept(store: Store) -> None:
    text, _ = store.add_key("alice")

    async def run() -> None:
        authenticator = Authenticator(store)
        await authenticator.identify(f"Bearer {text.value.decode()}")
        assert text.value.decode() not in repr(vars(authenticator._keys))
        authenticator.close()

    asyncio.run(run())


def test_a_permit_follows_its_grant(store: Store) -> None:
    text, _ = store.add_key("alice")
    principal = store.find_key(text.value.decode())
    assert principal is not None

    async def refusal(permits: Permits) -> Reason:
        with pytest.raises(GrantRefused) as caught:
            await permits.find(principal, MODEL)
        return caught.value.reason

    async def run() -> None:
        permits = Permits(store)
        assert await refusal(permits) is Reason.NO_GRANT
        grant = store.add_grant("alice", MODEL, Terms())
        await asyncio.sleep(0.51)
        assert (await permits.find(principal, MODEL)).id == grant.id
        store.revoke_grant(grant.id)
        await asyncio.sleep(0.51)
        assert await refusal(permits) is Reason.REVOKED
        with pytest.raises(GrantRefused):
            await permits.find(principal, "cd" * 32)
        permits.close()

    asyncio.run(run())
