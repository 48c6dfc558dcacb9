"""Bursts, counted in memory and in a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from intact.errors import UsageError
from intact.serve.access import Limiter
from intact.serve.errors import StateUnavailable, TooFast
from intact.serve.state import Grant, Terms
from support import databases

RATE = "5/day"


def grant(number: int = 1, rate: str | None = RATE) -> Grant:
    return Grant(id=number, subject="a", model="ab" * 32, terms=Terms(rate=rate), used=0, created=1, revoked=None)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[databases.Server]:
    with databases.redis(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    server: databases.Server = request.getfixturevalue("redis")
    server.stop()
    server.start()  # it has kept nothing
    return f"redis://127.0.0.1:{server.port}/0"


async def allowed(limiter: Limiter, each: Grant, tries: int) -> int:
    """How many of so many at once are allowed."""
    found = await asyncio.gather(*(limiter.hit(each) for _ in range(tries)), return_exceptions=True)
    assert all(result is None or isinstance(result, TooFast) for result in found)
    return sum(result is None for result in found)


def test_as_many_as_the_rate_says_are_allowed(url: str) -> None:
    async def run() -> None:
        limiter = Limiter(url)
        await limiter.ready()
        assert await allowed(limiter, grant(1), 40) == 5
        assert await allowed(limiter, grant(2), 3) == 3  # each grant has its own
        assert await allowed(limiter, grant(3, None), 100) == 100
        with pytest.raises(TooFast, match="more than 5/day") as caught:
            await limiter.hit(grant(1))
        assert 1 <= caught.value.retry_after_s <= 3600
        await limiter.close()

    asyncio.run(run())


def test_replicas_count_together_in_redis(redis: databases.Server) -> None:
    async def run() -> None:
        one, two = (Limiter(f"redis://127.0.0.1:{redis.port}/1") for _ in range(2))
        counts = await asyncio.gather(allowed(one, grant(9), 20), allowed(two, grant(9), 20))
        assert sum(counts) == 5
        await one.close()
        await two.close()

    asyncio.run(run())


def test_nothing_is_allowed_while_redis_is_gone(redis: databases.Server) -> None:
    async def run() -> None:
        limiter = Limiter(f"redis://:hunter2@127.0.0.1:{redis.port}/0")
        redis.stop()
        begun = time.monotonic()
        for act in (limiter.hit(grant()), limiter.ready()):
            with pytest.raises(StateUnavailable, match="rates cannot be counted") as caught:
                await act
            assert "hunter2" not in str(caught.value)
        assert time.monotonic() - begun < 10
        await limiter.hit(grant(1, None))  # it needs no count
        await limiter.close()

    try:
        asyncio.run(run())
    finally:
        redis.start()


def test_redis_that_comes_back_is_used_again(redis: databases.Server) -> None:
    async def run() -> None:
        limiter = Limiter(f"redis://127.0.0.1:{redis.port}/2")
        await limiter.hit(grant())
        redis.stop()
        with pytest.raises(StateUnavailable):
            await limiter.hit(grant())
        await asyncio.to_thread(redis.start)
        await limiter.hit(grant())
        await limiter.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["", "redis://", "http://127.0.0.1", "redis://127.0.0.1:port", "memcached://h"])
def test_urls_that_lead_to_no_redis(url: str) -> None:
    with pytest.raises(UsageError, match=r"rates cannot be counted|cannot be understood"):
        Limiter(url)
