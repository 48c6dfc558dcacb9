"""Bursts: how many requests at a time. Counted in memory, for one process, or in Redis, for all replicas together."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final
from urllib.parse import urlsplit

from limits import RateLimitItem
from limits import parse as parse_rate
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError

from intact.errors import UsageError
from intact.serve.errors import StateUnavailable, TooFast
from intact.serve.state import Grant
from intact.serve.urls import from_file

MEMORY: Final = "memory://"
SCHEMES: Final = ("redis", "rediss")
PREFIX: Final = "intact"
WAIT_S: Final = 1.0
"""How long Redis may take to answer, or to let one connect."""
MOST_CONNECTIONS: Final = 128
LONGEST_RETRY_S: Final = 3600
MOST_PARSED: Final = 4096


class Limiter:
    """Refuses what comes faster than a grant allows. Belongs to one event loop.

    A window slides: what came in the one before counts by the share of it that the window still covers.

    Args:
        url: "memory://" for this process only, or "redis://...", "rediss://..." for all replicas, or
            "file:///PATH" where such a URL is in a file.

    Raises:
        UsageError: It is no such URL, or what speaks to Redis is not installed.
    """

    def __init__(self, url: str = MEMORY) -> None:
        self._storage, self._name, self._errors = _storage(url)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._parsed: dict[str, RateLimitItem] = {}

    async def ready(self) -> None:
        """Raise StateUnavailable unless the counts can be reached."""
        try:
            good = await asyncio.wait_for(self._storage.check(), 2 * WAIT_S)
        except self._errors as error:
            raise self._unavailable(error) from None
        if not good:
            raise self._unavailable(None)

    async def hit(self, grant: Grant) -> None:
        """Count a request of `grant`, where it has a rate.

        Raises:
            TooFast: It comes too fast; 429, with `retry_after_s`. It was not counted.
            StateUnavailable: Redis cannot be reached; 503.
        """
        if grant.terms.rate is not None:
            await self.count(f"{grant.id}-{grant.created}-{grant.model[:16]}", grant.terms.rate)

    async def count(self, name: str, rate: str) -> None:
        """Count one of whatever `name` stands for.

        Raises:
            TooFast: There are more than `rate` allows; as `hit` has it.
            StateUnavailable: Redis cannot be reached; 503.
        """
        item = self._item(rate)
        try:
            if await self._limiter.hit(item, name):
                return
            reset = (await self._limiter.get_window_stats(item, name)).reset_time
        except self._errors as error:
            raise self._unavailable(error) from None
        wait_s = min(max(1, math.ceil(reset - time.time())), LONGEST_RETRY_S)
        raise TooFast(f"more than {rate} were asked for", retry_after_s=wait_s)

    async def close(self) -> None:
        """Let go of Redis."""
        if isinstance(self._storage, RedisStorage):
            bridge: Any = self._storage.bridge
            await bridge.get_connection().aclose()

    def _item(self, rate: str) -> RateLimitItem:
        """Return a rate as `limits` has it."""
        item = self._parsed.get(rate)
        if item is None:
            if len(self._parsed) >= MOST_PARSED:
                self._parsed.clear()
            item = self._parsed[rate] = parse_rate(rate)
        return item

    def _unavailable(self, error: BaseException | None) -> StateUnavailable:
        said = "it does not answer" if error is None else type(error).__name__
        return StateUnavailable(
            f"rates cannot be counted at {self._name}: {said}", hint="nothing is answered until Redis is back"
        )


def _storage(url: str) -> tuple[Storage, str, tuple[type[BaseException], ...]]:
    """Return where counts lie, what that is called in errors, and what it raises."""
    url = from_file(url)
    if url == MEMORY:
        return MemoryStorage(), "memory", ()
    try:
        parts = urlsplit(url)
        name = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        raise UsageError("URL of Redis cannot be understood", hint="give redis://HOST:PORT or rediss://...") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise UsageError(
            f"rates cannot be counted in {parts.scheme!a:.40}", hint="give memory://, redis://HOST:PORT or rediss://..."
        )
    try:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
    except ImportError:
        raise UsageError("rates in Redis need the package redis", hint="pip install 'intact[serve]'") from None
    options: dict[str, Any] = {
        "socket_timeout": WAIT_S,
        "socket_connect_timeout": WAIT_S,
        "max_connections": MOST_CONNECTIONS,
        "retry": Retry(NoBackoff(), 1),  # a connection that Redis has closed meanwhile is replaced
    }
    try:
        storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix=PREFIX, **options)
    except (ConfigurationError, ValueError):
        raise UsageError(f"URL of Redis at {name} cannot be understood", hint="give redis://HOST:PORT/NUMBER") from None
    return storage, name, (RedisError, OSError, TimeoutError)
