"""Enforcing a policy: what this reader's clock, engines and memory of revisions say to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from intact.errors import AccessError
from intact.seal.manifest import Manifest
from intact.seal.policy import LATEST, Policy, timestamp
from intact.seal.revisions import Revisions
from intact.seal.source import Source

EARLIEST: Final = 1_767_225_600
"""2026-01-01T00:00:00Z. No artifact is older than this format: a clock before it is wrong."""
FAR_S: Final = 2 * 366 * 86_400
"""A clock this long before the time an artifact begins at is taken to be wrong rather than early."""
SLACK_S: Final = 600
"""How far a clock may fall behind itself, as when it is set right."""

_SET_CLOCK: Final = "set the clock of this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a policy is held against.

    Args:
        clock: Returns the time, in seconds since 1970 UTC.
        engines: The engines that the caller names; None where it names none.
        revisions: What was opened before; None to do without protection against older revisions.
        allow_older: Accept a revision older than one opened before, but for those withdrawn.
    """

    clock: Callable[[], float] = time.time
    engines: tuple[str, ...] | None = None
    revisions: Revisions | None = None
    allow_older: bool = False

    def enforce(self, manifest: Manifest) -> None:
        """Accept an artifact's policy and revision, before its key is touched.

        Raises:
            AccessError: Too early, expired, an engine that is not allowed, a revision that is older than one opened
                before or withdrawn, or a clock that cannot be right.
            IntegrityError: What is remembered of revisions is damaged.
            UsageError: What is remembered of revisions cannot be read.
        """
        if manifest.policy.timed:
            self._refuse_time(manifest.policy)
        _refuse_engines(manifest.policy, self.engines)
        if self.revisions is not None:
            self.revisions.check(manifest.artifact, manifest.revision, allow_older=self.allow_older)

    def remember(self, source: Source) -> None:
        """Write down that an artifact was opened, where it is signed: anyone can give an unsigned one any number.

        Raises:
            IntegrityError: What is remembered of revisions is damaged.
            UsageError: It cannot be written.
        """
        if self.revisions is None or not source.signed:
            return
        manifest = source.manifest
        minimum = manifest.policy.minimum_revision or 1
        self.revisions.remember(manifest.artifact, manifest.revision, minimum, _readable(self.clock()))

    def _refuse_time(self, policy: Policy) -> None:
        """Raise AccessError unless it is the policy's time, by a clock that can be right."""
        now = _readable(self.clock())
        begin, end = policy.not_before, policy.not_after
        if now < EARLIEST or (begin is not None and now < begin - FAR_S):
            wanted = max(EARLIEST, begin or 0)
            raise AccessError(
                f"clock says {timestamp(now)}, far before {timestamp(wanted)}: it cannot be right, "
                "and the artifact's use is limited in time",
                hint=_SET_CLOCK,
            )
        last = 0 if self.revisions is None else self.revisions.last_opened()
        if now < last - SLACK_S:
            raise AccessError(
                f"clock says {timestamp(now)}, but an artifact was opened at {timestamp(last)}: it was set back, "
                "and the artifact's use is limited in time",
                hint=f"{_SET_CLOCK}; if it was ahead before, remove clock.json from the folder of revisions",
            )
        if begin is not None and now < begin:
            raise AccessError(
                f"artifact may not be opened before {timestamp(begin)}; the clock says {timestamp(now)}",
                hint="wait until then, or ask its owner for another revision",
            )
        if end is not None and now > end:
            raise AccessError(
                f"artifact expired at {timestamp(end)}; the clock says {timestamp(now)}",
                hint="ask its owner for a newer revision",
            )


ORDINARY: Final = Conditions()
"""This machine's clock, any engine the policy allows, and no memory of revisions."""


def _refuse_engines(policy: Policy, engines: tuple[str, ...] | None) -> None:
    """Raise AccessError where the caller names an engine that the policy does not."""
    foreign = sorted(set(engines or ()) - set(policy.engines or engines or ()))
    if foreign:
        raise AccessError(
            f"artifact may not run on engine {foreign[0]!a:.70}, only on {', '.join(policy.engines or ())}",
            hint="name one of these, or none",
        )


def _readable(now: float) -> float:
    """Return the clock's time, once it is one."""
    if not (math.isfinite(now) and 0 <= now <= LATEST):
        raise AccessError(f"clock says {now!r} seconds since 1970, which is no time", hint=_SET_CLOCK)
    return now
