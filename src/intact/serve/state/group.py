"""Group commit: requests that wait at the same time are settled together, by one thread, in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Sequence
from typing import Final, TypeAlias

from intact.errors import IntactError
from intact.serve.errors import Busy, GrantRefused, StateUnavailable
from intact.serve.state.store import Store
from intact.serve.state.values import Charge, Denied, Entry

MOST_WAITING: Final = 1024
MOST_TOGETHER: Final = 256

Waiting: TypeAlias = tuple[Charge, asyncio.Future[Entry]]


class Settler:
    """The event loop's face of `Store.settle`. It belongs to the loop it is made in.

    While one batch is being written, what comes in waits, and is the next batch: the busier, the larger.

    Args:
        store: Where charges are settled.
        most_waiting: More than this many are refused with `Busy`.
    """

    def __init__(self, store: Store, *, most_waiting: int = MOST_WAITING) -> None:
        self._store = store
        self._most_waiting = most_waiting
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._draining = False
        self._thread = threading.Thread(target=self._work, name="intact-settler", daemon=True)
        self._thread.start()

    async def settle(self, charge: Charge) -> Entry:
        """Count and record a charge; when this returns, that is durable.

        Returns:
            Where it is in the log.

        Raises:
            GrantRefused: It was neither counted nor recorded; `reason` says why.
            Busy: Too many wait, or the server is stopping.
            StateUnavailable: The database cannot be reached or written; nothing may be answered. Where the connection
                broke while it was committed, the entry may be in the log nevertheless.
        """
        if self._draining:
            raise Busy("server is stopping", hint="ask another replica")
        if self._waiting.qsize() >= self._most_waiting:
            raise Busy(f"{self._most_waiting} requests wait to be recorded already")
        future: asyncio.Future[Entry] = self._loop.create_future()
        self._waiting.put((charge, future))
        return await future

    async def drain(self) -> None:
        """Take no more charges, settle those that wait, and end the thread."""
        if not self._draining:
            self._draining = True
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        """Settle what waits, until there will be no more."""
        more = True
        while more:
            batch, more = self._next()
            if batch:
                self._tell([future for _, future in batch], self._settle([charge for charge, _ in batch]))

    def _next(self) -> tuple[list[Waiting], bool]:
        """Wait for charges and return them, the oldest first, and whether there may be more."""
        batch: list[Waiting] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < MOST_TOGETHER:
                waiting = self._waiting.get(block=not batch)
                if waiting is None:
                    return batch, False
                batch.append(waiting)
        return batch, True

    def _settle(self, charges: Sequence[Charge]) -> Sequence[Entry | Denied | IntactError]:
        """Return what became of each charge; where settling failed, the failure is everybody's."""
        try:
            return self._store.settle(charges)
        except IntactError as error:
            return [error] * len(charges)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told, and nothing is answered
            return [StateUnavailable(f"settling failed: {type(error).__name__}")] * len(charges)

    def _tell(self, futures: Sequence[asyncio.Future[Entry]], results: Sequence[Entry | Denied | IntactError]) -> None:
        """Give the results to those who wait, in their loop."""

        def resolve() -> None:
            for future, result in zip(futures, results, strict=True):
                if future.done():  # given up meanwhile
                    continue
                if isinstance(result, Entry):
                    future.set_result(result)
                elif isinstance(result, Denied):
                    future.set_exception(GrantRefused(result.reason))
                else:
                    future.set_exception(_own(result))

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(resolve)


def _own(error: IntactError) -> IntactError:
    """Return an error like `error` for one of those who wait: each traceback is its own."""
    return type(error)(error.message, hint=error.hint) if isinstance(error, StateUnavailable) else error
