"""Dynamic batching: while the model is busy requests wait, and those that fit together run as one batch.

Only rows that keep apart are put together, so no answer depends on who else was asking; and a batch that fails is run
again one request at a time, so no request fails for another's sake. What is quick runs at once in the event loop:
handing it to a thread would take longer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from intact.serve.computing import Feeds, Outcome
from intact.serve.refused import RETRY_AFTER_S, Refused

QUICK_S: Final = 0.0005
"""What takes less than this is not worth a thread."""
MOST_ROWS: Final = 64
MOST_WAITING: Final = 256
MOST_PACES: Final = 64
FORGETS: Final = 1.02
"""How fast an old measurement is forgotten: each call may take so much longer than the fastest before."""

Key: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]


class Computes(Protocol):
    """What a batcher hands work to."""

    def alone(self, feeds: Feeds) -> Outcome:
        """Compute one request."""

    def together(self, many: Sequence[Feeds]) -> list[Outcome]:
        """Compute several that fit together."""


@dataclass(slots=True, eq=False)
class _Job:
    """A request that waits."""

    feeds: Feeds
    rows: int
    key: Key | None
    future: asyncio.Future[Outcome]


class Batcher:
    """Runs one model for many requests. It belongs to the event loop it is used in.

    Args:
        computer: What computes.
        stacks: Whether requests may share a batch: rows keep apart, and every first axis may vary.
        workers: Batches at a time.
        most_rows: Most rows in a batch of several requests.
        most_waiting: More requests than this are refused.
    """

    def __init__(
        self,
        computer: Computes,
        *,
        stacks: bool,
        workers: int = 1,
        most_rows: int = MOST_ROWS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._computer = computer
        self._stacks = stacks
        self._most_rows = most_rows
        self._most_waiting = most_waiting
        self._idle = workers
        self._queue: deque[_Job] = deque()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="intact-model")
        self._paces: dict[tuple[tuple[int, ...], ...], float] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def compute(self, feeds: Feeds) -> Outcome:
        """Compute a request, alone or with others.

        Raises:
            Refused: Too many wait; 503.
            IntactError: The model cannot take these inputs, or no longer runs.
        """
        shapes = tuple([value.shape for value in feeds.values()])
        pace = self._paces.get(shapes)
        if pace is not None and pace < QUICK_S and not self._queue:
            return self._timed(shapes, feeds)
        if len(self._queue) >= self._most_waiting:
            raise Refused(503, "too many requests wait for the model", retry_after_s=RETRY_AFTER_S)
        rows = {shape[0] for shape in shapes if shape}
        key = _key(feeds) if self._stacks and len(rows) == 1 else None
        job = _Job(feeds, max(rows, default=1), key, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._dispatch()
        return await job.future

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, shapes: tuple[tuple[int, ...], ...], feeds: Feeds) -> Outcome:
        """Compute a request here, and remember how long requests of its shapes take."""
        start = time.perf_counter()
        outcome = self._computer.alone(feeds)
        self._remember(shapes, time.perf_counter() - start)
        return outcome

    def _remember(self, shapes: tuple[tuple[int, ...], ...], took_s: float) -> None:
        """Keep about the shortest time that requests of these shapes took: longer ones had to wait."""
        known = self._paces.get(shapes)
        if known is None and len(self._paces) >= MOST_PACES:
            self._paces.clear()
        self._paces[shapes] = took_s if known is None else min(took_s, known * FORGETS)

    def _dispatch(self) -> None:
        """Hand what waits to idle workers."""
        while self._queue and self._idle:
            jobs = self._take()
            if not jobs:
                continue
            self._idle -= 1
            loop = asyncio.get_running_loop()
            self._pool.submit(self._work, loop, jobs)

    def _take(self) -> list[_Job]:
        """Take the job that waits longest, and others that fit with it; none of those given up meanwhile."""
        first = self._queue.popleft()
        if first.future.done():
            return []
        jobs, rows = [first], first.rows
        if first.key is None:
            return jobs
        rest: deque[_Job] = deque()
        for job in self._queue:
            if job.future.done():
                continue
            if job.key == first.key and rows + job.rows <= self._most_rows:
                jobs.append(job)
                rows += job.rows
            else:
                rest.append(job)
        self._queue = rest
        return jobs

    def _work(self, loop: asyncio.AbstractEventLoop, jobs: list[_Job]) -> None:
        """Compute a batch in a thread."""
        start = time.perf_counter()
        results = _compute(self._computer, [job.feeds for job in jobs])
        took_s = (time.perf_counter() - start) / len(jobs)
        loop.call_soon_threadsafe(self._done, jobs, results, took_s)

    def _done(self, jobs: list[_Job], results: Sequence[Outcome | Exception], took_s: float) -> None:
        """Give the results to those who wait, and go on."""
        self._idle += 1
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Outcome):
                self._remember(tuple([value.shape for value in job.feeds.values()]), took_s)
            if job.future.done():  # given up meanwhile
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._dispatch()


def _key(feeds: Feeds) -> Key:
    """Return what requests must have in common to share a batch."""
    return tuple(sorted((name, value.dtype.str, value.shape[1:]) for name, value in feeds.items()))


def _compute(computer: Computes, many: list[Feeds]) -> list[Outcome | Exception]:
    """Compute a batch; where it fails, each request alone."""
    if len(many) > 1:
        try:
            return list(computer.together(many))
        except Exception:  # noqa: BLE001, S110 - one of them is at fault: its own run says which
            pass
    return [_alone(computer, feeds) for feeds in many]


def _alone(computer: Computes, feeds: Feeds) -> Outcome | Exception:
    try:
        return computer.alone(feeds)
    except Exception as error:  # noqa: BLE001 - it is raised again where the request waits
        return error
