"""Refusals and alarms of the guard, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from intact.serve.console.charts import Column
from intact.serve.console.visit import WATCHERS, Reply, Visit, get
from intact.serve.state import AlarmCount, RefusalCount

MOST_ROWS: Final = 100
NOT_NOW: Final = ("429", "503")
"""Statuses of refusals that may be answered later."""

Count = TypeVar("Count", RefusalCount, AlarmCount)
Kind = TypeVar("Kind", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How far a page looks back.

    Args:
        name: What the address calls it.
        title: What people do.
        length_s: Seconds.
        step_s: Seconds of a column.
    """

    name: str
    title: str
    length_s: int
    step_s: int


SPANS: Final = (
    Span(name="hour", title="Last hour", length_s=3600, step_s=60),
    Span(name="day", title="Last day", length_s=86_400, step_s=1800),
    Span(name="week", title="Last week", length_s=7 * 86_400, step_s=3 * 3600),
    Span(name="quarter", title="Last 90 days", length_s=90 * 86_400, step_s=36 * 3600),
)


async def show_refusals(visit: Visit) -> Reply:
    """Show who got no answer, and why."""
    span, now = _span(visit), int(visit.house.core.parts.clock())
    start = _start(span, now)
    found = await visit.house.work(visit.house.store.refusals, start)
    by_cause = grouped(found, lambda each: (each.reason, each.model, each.subject))
    return visit.page(
        "refusals",
        span=span,
        spans=SPANS,
        columns_=columns(found, start, now, span.step_s, lambda each: int(_is_later(each)), 2),
        total=sum(each.count for each in found),
        rows=by_cause[:MOST_ROWS],
        hidden=len(by_cause) - MOST_ROWS,
        names=_names(visit),
    )


async def show_alarms(visit: Visit) -> Reply:
    """Show what the guard said."""
    span, now = _span(visit), int(visit.house.core.parts.clock())
    start = _start(span, now)
    found = await visit.house.work(visit.house.store.alarms, start)
    by_check = grouped(found, lambda each: (each.check, each.verdict, each.model))
    return visit.page(
        "alarms",
        span=span,
        spans=SPANS,
        columns_=columns(found, start, now, span.step_s, lambda each: int(each.verdict == "refuse"), 2),
        total=sum(each.count for each in found),
        rows=by_check[:MOST_ROWS],
        hidden=len(by_check) - MOST_ROWS,
        names=_names(visit),
    )


def columns(
    found: Iterable[Count], start: int, now: int, step_s: int, part: Callable[[Count], int], parts: int
) -> list[Column]:
    """Return counts by stretch of time and part, empty stretches too."""
    sums: Counter[tuple[int, int]] = Counter()
    for each in found:
        sums[(each.minute - start) // step_s, part(each)] += each.count
    many = (now - start) // step_s + 1
    return [
        Column(start + index * step_s, tuple(sums[index, place] for place in range(parts))) for index in range(many)
    ]


def grouped(found: Sequence[Count], kind: Callable[[Count], Kind]) -> list[tuple[Kind, int]]:
    """Return kinds and how often each was counted, the most frequent first."""
    sums: Counter[Kind] = Counter()
    for each in found:
        sums[kind(each)] += each.count
    return sums.most_common()


def _is_later(each: RefusalCount) -> bool:
    """Whether what was refused may be answered later."""
    return each.reason[:3] in NOT_NOW


def _span(visit: Visit) -> Span:
    return next((span for span in SPANS if span.name == visit.query.get("span")), SPANS[0])


def _start(span: Span, now: int) -> int:
    """Return where the first column begins, so that columns begin at round times."""
    return (now - span.length_s) // span.step_s * span.step_s + span.step_s


def _names(visit: Visit) -> dict[str, str]:
    return {served.digest: f"{served.name}, revision {served.version}" for served in visit.house.core.models.all()}


ROUTES: Final = (
    get("/console/refusals", WATCHERS, show_refusals, "refusals"),
    get("/console/alarms", WATCHERS, show_alarms, "alarms"),
)
