"""A clock that notices when it was set while the process ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from intact.serve.errors import StateUnavailable

JUMP_S: Final = 60.0
"""Corrections up to this are ordinary."""


class Steady:
    """Compares the time of day with a clock that nobody can set, which counts while the machine sleeps too.

    Args:
        clock: Returns seconds since 1970. Only the system's own is compared: one of a test's goes where it likes.
        steady: Returns seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float] | None = None) -> None:
        own = clock is time.time
        self._clock = clock
        self._steady = steady or (_since_boot if own else clock)
        self._ahead = clock() - self._steady()

    def now(self) -> float:
        """Return the time.

        Raises:
            StateUnavailable: It jumped since this was made. It does not go on by itself: times in grants, and in the
                log, would mean something else.
        """
        now = self._clock()
        jump = now - self._steady() - self._ahead
        if abs(jump) > JUMP_S:
            raise StateUnavailable(
                f"clock jumped by {jump:+.0f} seconds since the server began",
                hint="set it right; if it is right now, start the server again",
            )
        return now


def _since_boot() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
