"""Round by a heavier method: the same widths, better integers."""

from __future__ import annotations

from collections.abc import Generator

from intact.compress.methods import methods
from intact.tuning.escalations import Escalation, Round, Situation, with_method

HEAVIER = ("gptq", "descent", "adaround")
"""The quickest first."""


def _left(situation: Situation) -> list[str]:
    used = {situation.material.recipe.default.method}
    used |= {choice.method for point in situation.points for choice in point.assignment.values()}
    return [name for name in HEAVIER if name in methods() and name not in used]


def why_not(situation: Situation) -> str | None:
    """There may be none that was not used already."""
    return None if _left(situation) else "there is no heavier method that was not used already"


def rounds(situation: Situation) -> Generator[Round]:
    """One round a method, over the front."""
    points = situation.spread(situation.points)
    for name in _left(situation):
        yield situation.round(f"method {name}", with_method(points, name))


ESCALATION = Escalation(name="method", why_not=why_not, rounds=rounds)
