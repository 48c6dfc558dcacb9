"""What a check says of one call, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "flag", "refuse"]
Mode: TypeAlias = Literal["off", "flag", "refuse"]
"""What is done about a row beyond a check's threshold: nothing, a remark, or no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says of one call: of its worst row.

    Args:
        check: The check's name.
        verdict: "ok", or the check's mode where the score is beyond the threshold.
        score: The worst row's, three digits of it, finite; the higher, the stranger.
        row: Which row that is.
    """

    check: str
    verdict: Verdict
    score: float
    row: int


def refused(findings: Iterable[Finding]) -> Finding | None:
    """Return the first finding that refuses the call; None where none does."""
    return next((finding for finding in findings if finding.verdict == "refuse"), None)
