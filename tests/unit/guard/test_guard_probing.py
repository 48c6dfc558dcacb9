"""Which queries set off the alarm, and what is remembered of them."""

from __future__ import annotations

import numpy as np
import pytest

from intact.errors import UsageError
from intact.guard import Drift, Probing
from intact.guard import probing as module


def natural(seed: int, rows: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)


def line(rows: int = 300) -> np.ndarray:
    ends = natural(0, 2)
    return (ends[0] + np.linspace(0, 1, rows)[:, None] * (ends[1] - ends[0])).astype(np.float32)


def feed(probing: Probing, subject: str, rows: np.ndarray, labels: np.ndarray | None = None) -> Drift:
    for index in range(len(rows)):
        drift = probing.observe(subject, rows[index : index + 1], None if labels is None else labels[index : index + 1])
    return drift


def test_natural_queries_set_off_no_alarm() -> None:
    probing = Probing()
    for seed in range(5):
        drift = feed(probing, str(seed), natural(seed))
        assert not drift.alarm
        assert drift.queries == 300
        assert drift.statistic is not None


def augmented(step: float) -> np.ndarray:
    """Seeds, and then steps of one size from all that came before, as who copies a model asks (JbDA)."""
    random, grown = np.random.default_rng(1), natural(1, 60)
    while len(grown) < 480:
        grown = np.concatenate([grown, grown + np.float32(step) * np.sign(random.normal(size=grown.shape))])
    return grown.astype(np.float32)


def test_steps_from_earlier_queries_set_off_the_alarm() -> None:
    for step in (0.1, 0.3):
        assert feed(Probing(), "copier", augmented(step)).alarm


def test_nothing_is_said_of_few_queries() -> None:
    drift = feed(Probing(), "new", line(90))
    assert drift == Drift(queries=90, statistic=None, alarm=False)


def test_subjects_are_kept_apart() -> None:
    probing = Probing()
    feed(probing, "one", natural(1, 150))
    assert probing.observe("other", natural(2, 1)).queries == 1


def test_who_was_silent_longest_is_forgotten_first() -> None:
    probing = Probing(subjects=2)
    for subject in ("a", "b", "a", "c"):
        probing.observe(subject, natural(0, 1))
    assert probing.observe("a", natural(0, 1)).queries == 3
    assert probing.observe("b", natural(0, 1)).queries == 1


def test_a_subject_can_be_forgotten() -> None:
    probing = Probing()
    feed(probing, "a", natural(0, 10))
    probing.forget("a")
    probing.forget("nobody")
    assert probing.observe("a", natural(0, 1)).queries == 1


def test_memory_is_bounded() -> None:
    probing = Probing()
    labels = np.arange(3000) % 2000  # more labels than are told apart
    feed(probing, "a", natural(0, 3000), labels)
    (queries,) = probing._known.values()
    assert len(queries._distances) <= module.WINDOW
    assert queries._kept.shape == (module.KEPT, 16)
    assert len(queries._grown) <= module.LABELS


def test_queries_that_are_not_finite_or_of_another_width_are_counted_and_not_kept() -> None:
    probing = Probing()
    feed(probing, "a", natural(0, 5))
    assert probing.observe("a", np.full((1, 16), np.nan, np.float32)).queries == 6
    assert probing.observe("a", np.zeros((1, 4), np.float32)).queries == 7


@pytest.mark.parametrize("given", [{"delta": 1.5}, {"delta": -0.1}, {"subjects": 0}, {"delta": float("nan")}])
def test_what_is_out_of_range_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Probing(**given)  # type: ignore[arg-type]
