"""What the owner allows, in manifest.json: from when, until when, on which engines, which revisions are withdrawn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from intact.errors import UsageError
from intact.wire.canonical import SAFE_INTEGER

LATEST: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that RFC 3339 can write."""
MOST_ENGINES: Final = 64

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([Zz]|[+-]\d\d:\d\d)")
_ENGINE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Limits on the use of one revision of an artifact. Without arguments it limits nothing.

    The limits bind readers that keep to them, as this package does. Whoever holds the key holds the weights.

    Args:
        not_before: Not opened before this time, in seconds since 1970 UTC. `Policy.of` takes RFC 3339 text.
        not_after: Not opened after this time.
        engines: Names of the engines it may run on, sorted and without repetition; None for any.
        minimum_revision: Revisions of this artifact below this one are withdrawn: a reader that has seen this statement
            opens them no more, whatever it is told. None withdraws nothing.
    """

    not_before: int | None = None
    not_after: int | None = None
    engines: tuple[str, ...] | None = None
    minimum_revision: int | None = None

    def __post_init__(self) -> None:
        for name in ("not_before", "not_after"):
            _refuse_outside(name, getattr(self, name), 0, LATEST)
        _refuse_outside("minimum_revision", self.minimum_revision, 1, SAFE_INTEGER)
        if self.not_before is not None and self.not_after is not None and self.not_before > self.not_after:
            raise UsageError(
                f"policy ends at {timestamp(self.not_after)}, before it begins at {timestamp(self.not_before)}",
                hint="swap the two times",
            )
        if self.engines is not None:
            _refuse_engines(self.engines)

    @classmethod
    def of(
        cls,
        *,
        not_before: int | str | None = None,
        not_after: int | str | None = None,
        engines: Iterable[str] | None = None,
        minimum_revision: int | None = None,
    ) -> Policy:
        """Return the policy of values in any spelling: times as RFC 3339 text too, engines in any order.

        Raises:
            UsageError: A value is out of range, or a text is no time.
        """
        return cls(
            not_before=seconds(not_before) if isinstance(not_before, str) else not_before,
            not_after=seconds(not_after) if isinstance(not_after, str) else not_after,
            engines=None if engines is None else tuple(sorted(set(engines))),
            minimum_revision=minimum_revision,
        )

    @property
    def timed(self) -> bool:
        """Whether it depends on the clock."""
        return self.not_before is not None or self.not_after is not None

    def lines(self) -> list[str]:
        """Return the limits in words, one a line; none where nothing is limited."""
        found = []
        if self.not_before is not None:
            found.append(f"not before {timestamp(self.not_before)}")
        if self.not_after is not None:
            found.append(f"not after {timestamp(self.not_after)}")
        if self.engines is not None:
            found.append(f"engines {', '.join(self.engines)}")
        if self.minimum_revision is not None:
            found.append(f"revisions below {self.minimum_revision} withdrawn")
        return found


def seconds(text: str) -> int:
    """Return the time that `text` writes, in seconds since 1970 UTC.

    Args:
        text: Date, time and offset in whole seconds, such as "2027-01-31T00:00:00Z" or "2027-01-31T09:00:00+09:00".

    Raises:
        UsageError: It is no such text, or no such time.

    Source:
        RFC 3339, section 5.6.
    """
    try:
        if _RFC_3339.fullmatch(text) is None:
            raise ValueError
        return int(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!a:.40} is no time in RFC 3339", hint="write date, time and offset, such as 2027-01-31T00:00:00Z"
        ) from None


def timestamp(moment: float) -> str:
    """Return a time in seconds since 1970 as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refuse_outside(name: str, value: object, low: int, high: int) -> None:
    """Raise UsageError unless `value` is None or an integer from `low` to `high`."""
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise UsageError(f"{name} of the policy is {value!a:.40}, wanted an integer from {low} to {high}")


def _refuse_engines(engines: tuple[str, ...]) -> None:
    """Raise UsageError unless `engines` are a few names in the one order that they are written in."""
    if not engines or len(engines) > MOST_ENGINES or any(_ENGINE.fullmatch(name) is None for name in engines):
        raise UsageError(
            f"policy allows engines {engines!a:.80}, wanted 1 to {MOST_ENGINES} names",
            hint="name engines such as onnxruntime, or leave them out to allow any",
        )
    if engines != tuple(sorted(set(engines))):
        raise UsageError("engines of the policy are not sorted, or repeat", hint="use Policy.of, which sorts them")


NO_LIMITS: Final = Policy()
