"""The evader has a key to the server and asks what the model was never made for, or what makes it err."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.guard import Contract, Guard, Learner, Probing, Takes, Tap, refused

Array = np.ndarray[Any, Any]

TAKES = (Takes(name="x", dtype="float32", shape=("n", 784)), Takes(name="mask", dtype="int64", shape=("n", "length")))
WEIGHTS = np.random.default_rng(9).normal(size=(784, 24)).astype("f4") / 8
HEAD = np.random.default_rng(8).normal(size=(24, 10)).astype("f4") / 40


def codes(x: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.clip(np.rint(np.nan_to_num(np.maximum(x @ WEIGHTS, 0)) * 50), 0, 255).astype(np.uint8)


def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {"y": (codes(feeds["x"]) @ HEAD).astype(np.float32)}


def rows(seed: int, count: int = 32) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, 1, (count, 784)).astype(np.float32)
    return {"x": pixels, "mask": np.ones((count, 7), np.int64)}


def learn() -> Contract:
    learner = Learner(TAKES, tap=Tap(tensor="h", dtype="uint8", zero=0), run=run)
    for seed in range(10):
        feeds = rows(seed)
        learner.add(feeds, run(feeds), codes(feeds["x"]), run(feeds))
    return learner.learn()


CONTRACT = learn()


def verdict(feeds: Mapping[str, Array], check: str) -> str:
    return next(each.verdict for each in Guard(CONTRACT).inputs(feeds) if each.check == check)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_value_that_is_not_finite_reaches_the_model(value: float) -> None:
    for index in (0, 400, 783):
        feeds = rows(50, 3)
        feeds["x"][1, index] = value
        found = refused(Guard(CONTRACT).inputs(feeds))
        assert found is not None
        assert (found.check, found.row) == ("finite", 1)


@pytest.mark.parametrize("value", [5.0, -4.0, 1e9, 3e38])
def test_one_wild_value_among_many_is_seen(value: float) -> None:
    feeds = rows(51, 1)
    assert verdict(feeds, "range") == "ok"
    feeds["x"][0, 321] = value
    assert verdict(feeds, "range") == "flag"


def test_a_strange_row_is_not_hidden_among_good_ones() -> None:
    feeds = rows(52, 64)
    feeds["x"][40] = 1 - 2 * feeds["x"][40]
    found = [each for each in Guard(CONTRACT).inputs(feeds) if each.check == "range"]
    assert (found[0].verdict, found[0].row) == ("flag", 40)


@settings(max_examples=150, deadline=None)
@given(
    value=st.one_of(
        hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.bool_]), hnp.array_shapes(max_dims=4)),
        hnp.arrays(np.float32, (2, 784), elements=st.floats(width=32), fill=st.floats(width=32)),
    ),
    mask=st.one_of(st.none(), hnp.arrays(np.int64, (2, 3))),
)
def test_whatever_arrives_is_judged_and_raises_nothing(value: Array, mask: Array | None) -> None:
    feeds = {"x": value} if mask is None else {"x": value, "mask": mask}
    guard = Guard(CONTRACT, {"range": "refuse"})
    found = guard.inputs(feeds)
    assert found
    assert all(np.isfinite(each.score) and each.verdict in ("ok", "flag", "refuse") for each in found)
    if refused(found) is None:
        assert value.shape == (2, 784) and np.isfinite(value).all()
        guard.outputs(feeds, run(feeds), codes(value))


def test_a_score_tells_three_digits_and_no_more() -> None:
    """A check's score is a slope to climb; what is told of it is coarse."""
    feeds = rows(53, 1)
    found = Guard(CONTRACT).outputs(feeds, run(feeds), codes(feeds["x"]))
    assert len(found) >= 5
    assert all(float(f"{each.score:.3g}") == each.score for each in found)


def test_copying_in_small_steps_sets_off_the_alarm_and_natural_queries_do_not() -> None:
    random = np.random.default_rng(0)
    natural, seeds = random.normal(size=(500, 16)), random.normal(size=(60, 16))
    copied = seeds
    while len(copied) < 480:
        copied = np.concatenate([copied, copied + 0.1 * np.sign(random.normal(size=copied.shape))])
    probing = Probing()
    for subject, queries in (("honest", natural), ("copier", copied)):
        drifts = [probing.observe(subject, row[None].astype(np.float32)) for row in queries]
        assert any(each.alarm for each in drifts) == (subject == "copier")


def test_a_flood_of_subjects_takes_no_more_memory_and_little_time() -> None:
    probing, row = Probing(subjects=50), np.zeros((1, 16), np.float32)
    start = time.process_time()
    for subject in range(3000):
        probing.observe(f"subject {subject}", row)
    assert len(probing._known) == 50
    assert time.process_time() - start < 10
