"""When to stop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from intact.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A point in time on the monotonic clock, or never."""

    at: float = math.inf

    @classmethod
    def after(cls, minutes: float | None) -> Deadline:
        """The moment `minutes` from now; never for None.

        Raises:
            UsageError: The minutes are no number above 0.
        """
        if minutes is None:
            return cls()
        if not 0 < minutes < math.inf:
            raise UsageError(f"minutes is {minutes}, wanted a number above 0")
        return cls(at=time.monotonic() + 60 * minutes)

    @property
    def left_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.left_s == 0.0

    def wait_s(self, most: float) -> float:
        """How long to wait for something: no longer than the time left, and at most `most` seconds."""
        return min(self.left_s, most)

    def reserving(self, seconds: float) -> Deadline:
        """A deadline so much earlier."""
        return Deadline(at=self.at - seconds)
