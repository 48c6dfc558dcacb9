"""The search over the budget: rounds of checks on held-out data, and what to do where none passes.

A round is a fixed sequence: its candidates and their order, the surest first, are settled on calibration data alone;
each is tested at full confidence, and the first that does not pass ends the round. The chance that a round lets through
a model that is over the budget is then that of one single test, however many candidates pass before. Bisection would
need fewer checks, but it goes on after a failure, so that every look is another chance of luck. The risks of several
rounds add up, and the sum is told.

Source:
    Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052, section 3 (fixed sequence testing); Maurer et al.
    1995 for the procedure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from intact.compress.check import Outcome
from intact.tuning.escalations import Escalation, Round, Situation
from intact.tuning.results import Candidate
from intact.tuning.sensitivity import refine

RISK = 0.05
"""Of one round: the checks are one-sided with 95 % confidence."""


@dataclass
class Record:
    """What the rounds have shown so far."""

    checked: list[Candidate] = field(default_factory=list)
    rounds: int = 0
    remarks: list[str] = field(default_factory=list)
    out_of_time: bool = False

    @property
    def confidence(self) -> float:
        """That the budget is kept, over all rounds."""
        return max(0.0, 1.0 - RISK * self.rounds)


@dataclass(frozen=True, kw_only=True)
class Winner:
    """A candidate that passed, and the round it passed in."""

    candidate: Candidate
    round: Round


def search(situation: Situation, escalations: Sequence[Escalation], record: Record) -> Winner | None:
    """Return the cheapest candidate that was shown to keep the budget; None where none was."""
    first = situation.round("front", situation.spread(situation.points))
    best = check(first, record)
    if best is not None:
        return _refined(situation, best, record)
    for escalation in escalations:
        if record.out_of_time:
            record.remarks.append(f"not tried, for the time was up: {escalation.name}")
            continue
        reason = escalation.why_not(situation)
        if reason is not None:
            record.remarks.append(f"not tried: {escalation.name}, {reason}")
            continue
        with closing(escalation.rounds(situation)) as rounds:
            for each in rounds:
                best = check(each, record)
                if best is not None:
                    return best
        record.out_of_time |= situation.laboratory.deadline.over
    return None


def check(round_: Round, record: Record) -> Winner | None:
    """Check the candidates of a round in order until one does not pass; return the last that did."""
    best = None
    record.rounds += 1
    before = len(record.checked)
    for candidate in _judged(round_):
        record.checked.append(candidate)
        if not candidate.passed:
            break
        best = Winner(candidate=candidate, round=round_)
    else:
        record.out_of_time |= len(record.checked) - before < len(round_.candidates)
    return best


def _judged(round_: Round) -> Iterator[Candidate]:
    if round_.drafted is None:
        return round_.laboratory.check(round_.candidates, f"check {round_.name}")
    return iter([round_.laboratory.check_draft(candidate, round_.drafted) for candidate in round_.candidates])


def _refined(situation: Situation, best: Winner, record: Record) -> Winner:
    """Look once more between the cheapest that passed and the first that did not, with errors measured around there."""
    failed = record.checked[-1]
    if failed.passed:
        if record.out_of_time:
            record.remarks.append("the time was up: cheaper candidates were not checked")
        return best
    points = refine(
        situation.laboratory,
        situation.material.recipe,
        situation.layers,
        situation.errors,
        situation.objective,
        best.candidate.assignment,
    )
    if not points:
        record.remarks.append("the time was up: what lies around the chosen point was not refined")
        return best
    between = [point for point in points if failed.cost < point.cost < best.candidate.cost]
    if not between:
        return best
    return check(situation.round("refined", situation.spread(between)), record) or best


def binding(record: Record, widest: int, max_drop: float, escalations: Sequence[str]) -> tuple[str, str]:
    """Say which constraint keeps the budget from being met, and what to change: a message and a hint.

    Args:
        record: What was checked; nothing passed.
        widest: Bits of the widest choice allowed.
        max_drop: The budget.
        escalations: Names of those that were tried.
    """
    judged = [candidate for candidate in record.checked if candidate.verdict is not None]
    tried = f"{len(record.checked)} candidates were checked" + (f" ({', '.join(escalations)})" if escalations else "")
    if not judged and record.out_of_time:
        return "over time: no candidate could be checked in the minutes allowed", "give more --minutes"
    if not judged:
        refused = record.checked[0].refused if record.checked else "there was nothing to check"
        return f"no candidate can be built: {refused}", "change the recipe or the widths"
    verdicts = [candidate.verdict for candidate in judged if candidate.verdict is not None]
    best = max(verdicts, key=lambda verdict: verdict.difference)
    said = f"no candidate was shown to keep the budget of {max_drop:g}; {tried}; the best: {best.reason}"
    if record.out_of_time:
        return f"{said}; what binds is the time", "give more --minutes; what was found is kept in the folder"
    if best.outcome == Outcome.INCONCLUSIVE:
        return f"{said}; what binds is the number of examples", "evaluate on more examples, or raise --max-drop"
    if widest < 8:
        return f"{said}; what binds is the widths, at most {widest} bits", "allow wider ones with --width, up to 8"
    return f"{said}; what binds is the budget itself", "raise --max-drop, or give a recipe that leaves layers in float"
