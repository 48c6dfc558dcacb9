"""The probability of the label that is given, at a temperature at which it means most."""

from __future__ import annotations

from intact.guard import temperature
from intact.guard.chances import best_two
from intact.guard.check import Array, Check, Params, Score
from intact.guard.rows import Rows


def measure(rows: Rows) -> Array | None:
    """Return the scores of the labels."""
    return rows.logits


def bind(params: Params) -> Score:
    """Return the score: what the label's probability lacks to 1."""
    heat = temperature.read(params)
    return lambda logits: 1.0 - best_two(logits, heat)[0]


CHECK = Check(
    name="confidence", place="output", mode="flag", measure=measure, learn=temperature.learn, bind=bind, compares=True
)
