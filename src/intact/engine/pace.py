"""Work in the background that takes no more than a small share of one core."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread, current_thread
from typing import Final

from intact.errors import UsageError

SHARE: Final = 0.005
"""Of one core, by default: well below the 1 % that memory checks may cost."""
EVERY_S: Final = 20.0
"""A round begins this long after the one before, by default: engines' threads spin on a while after each run."""
SHORTEST_WAIT_S: Final = 0.01
"""Between two steps, however small they are, and between two rounds."""


class Paced:
    """A thread that goes round by round through steps, and rests after each for as long as its share asks.

    It ends when it is told to, and with the process.

    Args:
        begin: Returns the steps of the next round, each done when the iterator is advanced. Errors are the round's to
            handle.
        share: Most of one core's time that the steps may take, above 0 and at most 1.
        every_s: Seconds from the begin of a round to the begin of the next, at least.

    Raises:
        UsageError: The share is no such number, or the seconds are negative or endless.
    """

    def __init__(self, begin: Callable[[], Iterator[None]], share: float = SHARE, every_s: float = EVERY_S) -> None:
        if not 0 < share <= 1:
            raise UsageError(f"share is {share!r}, wanted a number above 0 and at most 1")
        if not 0 <= every_s < math.inf:
            raise UsageError(f"every_s is {every_s!r}, wanted seconds")
        self._begin = begin
        self._share = share
        self._every_s = every_s
        self._stopped = Event()
        self._thread = Thread(target=self._work, name="intact scrub", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it still works."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Begin no other step; does not wait for the one in progress."""
        self._stopped.set()

    def stop(self) -> None:
        """Begin no other step, and wait for the end of the one in progress."""
        self.end()
        if self._thread is not current_thread():
            self._thread.join()

    def _work(self) -> None:
        wait_s = SHORTEST_WAIT_S
        while not self._stopped.wait(wait_s):
            end = time.monotonic() + self._every_s
            for took in _timed(self._begin()):
                if self._stopped.wait(max(SHORTEST_WAIT_S, took * (1 / self._share - 1))):
                    return
            wait_s = max(SHORTEST_WAIT_S, end - time.monotonic())


def _timed(steps: Iterator[None]) -> Iterator[float]:
    """Yield how many seconds each step took."""
    while True:
        start = time.perf_counter()
        try:
            next(steps)
        except StopIteration:
            return
        yield time.perf_counter() - start
