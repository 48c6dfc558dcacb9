"""The lead of the label that is given over the next one: where it has hardly any, better no answer."""

from __future__ import annotations

from intact.guard import temperature
from intact.guard.chances import best_two
from intact.guard.check import Array, Check, Params, Score
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array | None:
    """Return the scores of the labels."""
    return rows.logits


def bind(params: Params) -> Score:
    """Return the score: what the lead lacks to 1."""
    heat = temperature.read(params)

    def score(logits: Array) -> Array:
        first, second = best_two(logits, heat)
        return 1.0 - first + second

    return score


CHECK = Check(
    name="abstain", place="output", mode="flag", measure=measure, learn=temperature.learn, bind=bind, compares=True
)
