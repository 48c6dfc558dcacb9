"""Answers of a database, looked up by a few threads and remembered for half a second."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from intact.serve.errors import Busy

REMEMBERED_S: Final = 0.5
"""A change is seen by every replica after this, and the time of a lookup."""
MOST_REMEMBERED: Final = 10_000
MOST_PENDING: Final = 256
THREADS: Final = 4

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Looks things up for one event loop. Who asks for the same at the same time waits for the same answer.

    Args:
        name: What its threads are called.
        remembered_s: How long an answer holds, from before it was looked up.
        clock: Returns seconds since some moment.
    """

    def __init__(
        self, name: str, *, remembered_s: float = REMEMBERED_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"intact-{name}")
        self._remembered_s = remembered_s
        self._clock = clock
        self._known: dict[Key, tuple[float, Value]] = {}
        self._pending: dict[Key, asyncio.Future[Value]] = {}

    async def get(self, key: Key, look_up: Callable[[], Value]) -> Value:
        """Return what `look_up` returns, now or less than half a second ago; it runs in another thread.

        Raises:
            Busy: Too much is being looked up, and this was not found before.
        """
        now = self._clock()
        found = self._known.get(key)
        if found is not None and now < found[0]:
            return found[1]
        pending = self._pending.get(key)
        if pending is None:
            good = found is not None and found[1] is not None
            if len(self._pending) >= MOST_PENDING and not good:  # strangers keep out who was found before by no flood
                raise Busy(f"{MOST_PENDING} lookups are waited for already")
            pending = asyncio.get_running_loop().run_in_executor(self._pool, look_up)
            self._pending[key] = pending
            pending.add_done_callback(functools.partial(self._keep, key, now + self._remembered_s))
        return await asyncio.shield(pending)  # one who gives up takes no answer from the others

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _keep(self, key: Key, until: float, done: asyncio.Future[Value]) -> None:
        """Remember an answer; a failure is nobody's answer but of those who wait."""
        self._pending.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._known) >= MOST_REMEMBERED:
            now = self._clock()
            self._known = {each: value for each, value in self._known.items() if now < value[0]}
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
        self._known[key] = (until, done.result())
