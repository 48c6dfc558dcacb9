"""What is said when nothing keeps the budget."""

from __future__ import annotations

import numpy as np
import pytest

from intact.compress.check import compare
from intact.compress.recipe import Recipe
from intact.tuning.results import Candidate
from intact.tuning.search import Record, binding


def judged(lost: int, examples: int = 400) -> Candidate:
    before, after = np.ones(examples), np.ones(examples)
    after[:lost] = 0
    return Candidate(
        recipe=Recipe(), assignment={}, cost=1, mean_bits=8.0, error=0.0, verdict=compare(before, after, 0.02)
    )


FAILED, OPEN = judged(100), judged(9)
REFUSED = Candidate(recipe=Recipe(), assignment={}, cost=1, mean_bits=8.0, error=0.0, refused="why")


@pytest.mark.parametrize(
    ("record", "widest", "told", "hint"),
    [
        (Record(checked=[FAILED]), 4, "what binds is the widths, at most 4 bits", "--width"),
        (Record(checked=[FAILED]), 8, "what binds is the budget itself", "--max-drop"),
        (Record(checked=[FAILED, OPEN]), 4, "what binds is the number of examples", "more examples"),
        (Record(checked=[FAILED], out_of_time=True), 8, "what binds is the time", "--minutes"),
        (Record(out_of_time=True), 8, "over time: no candidate could be checked", "--minutes"),
        (Record(checked=[REFUSED]), 8, "no candidate can be built: why", "recipe"),
    ],
)
def test_the_constraint_that_binds_is_named(record: Record, widest: int, told: str, hint: str) -> None:
    message, advice = binding(record, widest, 0.02, ["front"])
    assert told in message
    assert hint in advice


def test_the_best_candidate_is_told_not_the_last() -> None:
    message, _ = binding(Record(checked=[OPEN, FAILED]), 8, 0.02, ["front"])
    assert OPEN.verdict is not None
    assert OPEN.verdict.reason in message
    assert "2 candidates were checked" in message


def test_risks_of_rounds_add_up() -> None:
    assert [Record(rounds=rounds).confidence for rounds in (1, 2, 30)] == pytest.approx([0.95, 0.9, 0.0])
