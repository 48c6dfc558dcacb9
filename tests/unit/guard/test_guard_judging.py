"""A guard at work on contracts learned of synthetic rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from intact import wire
from intact.errors import IntegrityError, UsageError
from intact.guard import Contract, Finding, Guard, Learner, Takes, Tap, plain, refused

Array = np.ndarray[Any, Any]

TAKES = (Takes(name="x", dtype="float32", shape=("n", 20)),)
TAP = Tap(tensor="h_q", dtype="uint8", zero=0)
WEIGHTS = np.random.default_rng(9).normal(size=(20, 12)).astype("f4")
HEAD = np.random.default_rng(8).normal(size=(12, 5)).astype("f4") / 40


def codes(x: Array) -> Array:
    return np.clip(np.rint(np.maximum(x @ WEIGHTS, 0) * 12), 0, 255).astype(np.uint8)


def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {"y": (codes(feeds["x"]) @ HEAD).astype(np.float32)}


def rows(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).uniform(0, 1, (count, 20)).astype(np.float32)


def learn(count: int = 400, batch: int = 32, seed: int = 1, **options: Any) -> Contract:
    learner = Learner(TAKES, tap=TAP, run=run)
    x = rows(seed, count)
    for start in range(0, count, batch):
        some = x[start : start + batch]
        learner.add({"x": some}, run({"x": some}), codes(some), run({"x": some}))
    return learner.learn(**options)


CONTRACT = learn()


def findings(guard: Guard, x: Array) -> dict[str, Finding]:
    feeds = {"x": x}
    found = guard.inputs(feeds)
    if refused(found) is None:
        found += guard.outputs(feeds, run(feeds), codes(x))
    return {finding.check: finding for finding in found}


def everything() -> Guard:
    return Guard(CONTRACT, {"squeeze": "flag"}, run=run)


def test_everything_is_learned() -> None:
    every = {"shape", "finite", "range", "energy", "mahalanobis", "squeeze", "output_finite", "output_range"}
    assert set(CONTRACT.checks) == every | {"confidence", "abstain"}
    assert (CONTRACT.rows, CONTRACT.scores, CONTRACT.tap) == (400, "y", TAP)
    learned = {name: each.fpr for name, each in CONTRACT.checks.items() if each.fpr is not None}
    assert len(learned) == 7
    assert all(rate <= 0.01 for rate in learned.values())


def test_good_rows_are_flagged_about_as_often_as_promised() -> None:
    guard = everything()
    x = rows(2, 4000)
    scores = guard.scores({"x": x}, run({"x": x}), codes(x))
    assert set(scores) == set(CONTRACT.checks)
    for name, each in CONTRACT.checks.items():
        assert (scores[name] > each.threshold).mean() <= 0.025, name


def test_good_rows_pass() -> None:
    found = findings(everything(), rows(3, 1))
    assert set(found) == set(CONTRACT.checks)
    assert {each.verdict for each in found.values()} == {"ok"}


def test_the_worst_row_of_a_call_is_told() -> None:
    x = rows(4, 8)
    x[5] *= 30
    found = findings(everything(), x)
    assert found["range"] == Finding(check="range", verdict="flag", score=found["range"].score, row=5)
    assert found["mahalanobis"].row == 5
    assert found["output_range"].verdict == "flag"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_refused(value: float) -> None:
    x = rows(5, 4)
    x[2, 7] = value
    found = findings(Guard(CONTRACT), x)
    assert (found["finite"].verdict, found["finite"].row) == ("refuse", 2)
    assert found["range"].verdict == "flag"
    assert np.isfinite(found["range"].score)
    first = refused(found.values())
    assert first is not None and first.check == "finite"


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"z": rows(0, 1)},
        {"x": rows(0, 1), "z": rows(0, 1)},
        {"x": rows(0, 1).astype(np.float64)},
        {"x": rows(0, 1)[:, :19]},
        {"x": rows(0, 1)[0]},
        {"x": rows(0, 1)[None]},
        {"x": np.zeros((0, 20), np.float32)},
        {"x": np.float32(3)},
        {"x": np.asarray(3.0, np.float32)},
        {"x": np.full((1, 20), "a")},
        {"x": np.full((1, 20), None)},
    ],
    ids=lambda feeds: ",".join(f"{name}{np.shape(value)}" for name, value in feeds.items()),
)
def test_arrays_that_are_not_the_models_are_refused_and_nothing_raised(feeds: dict[str, Array]) -> None:
    assert Guard(CONTRACT).inputs(feeds) == [Finding(check="shape", verdict="refuse", score=1.0, row=0)]
    assert Guard(CONTRACT, {"shape": "off"}).inputs(feeds) == []


def test_outputs_that_are_not_finite_are_refused() -> None:
    x = rows(6, 3)
    outputs = run({"x": x})
    outputs["y"][1] = np.nan
    found = {each.check: each for each in Guard(CONTRACT).outputs({"x": x}, outputs, codes(x))}
    assert (found["output_finite"].verdict, found["output_finite"].row) == ("refuse", 1)
    assert all(np.isfinite(each.score) for each in found.values())


def test_a_check_that_is_off_finds_nothing() -> None:
    found = findings(Guard(CONTRACT, {"range": "off", "mahalanobis": "off"}), rows(7, 2) * 50)
    assert not {"range", "mahalanobis", "squeeze"} & set(found)


def test_a_check_can_refuse() -> None:
    assert findings(Guard(CONTRACT, {"range": "refuse"}), rows(7, 2) * 50)["range"].verdict == "refuse"


def test_features_that_are_missing_are_asked_for_and_not_passed_over() -> None:
    x = rows(8, 2)
    with pytest.raises(UsageError, match="features are not given"):
        Guard(CONTRACT).outputs({"x": x}, run({"x": x}))
    assert Guard(CONTRACT, {"mahalanobis": "off"}).outputs({"x": x}, run({"x": x}))


def test_squeezing_needs_the_model() -> None:
    with pytest.raises(UsageError, match="runs the model again"):
        Guard(CONTRACT, {"squeeze": "flag"})


def test_unknown_checks_and_modes_are_refused() -> None:
    for modes in ({"speling": "off"}, {"range": "sometimes"}):
        with pytest.raises(UsageError):
            Guard(CONTRACT, modes)  # type: ignore[arg-type]


def test_embeddings_are_of_few_features_and_need_the_layer() -> None:
    x, guard = rows(9, 6), Guard(CONTRACT)
    embedding = guard.embedding({"x": x}, run({"x": x}), codes(x))
    assert embedding is not None
    assert embedding.dtype == np.float32
    assert embedding.shape == (6, 12)
    assert guard.embedding({"x": x}, run({"x": x})) is None
    bare = Guard(plain(TAKES))
    found = bare.embedding({"x": x}, {"y": np.repeat(run({"x": x})["y"], 40, axis=1)})
    assert found is not None and found.shape == (6, 50)  # 200 columns, four neighbours at a time
    assert bare.embedding({"x": x}, {"y": np.float32([1, 2, 3, 4, 5, 6])}) is None


# learning


def test_the_same_rows_give_the_same_contract_however_they_are_cut() -> None:
    assert learn(batch=32) == CONTRACT
    assert wire.encode(learn(batch=50).to_json()) == wire.encode(CONTRACT.to_json())


def test_too_few_rows_give_shapes_and_finite_values_only() -> None:
    assert learn(99) == plain(TAKES)
    assert set(plain(TAKES).checks) == {"shape", "finite", "output_finite"}
    assert set(learn(100).checks) > {"range", "mahalanobis"}


def test_of_many_rows_no_more_are_looked_at_than_said() -> None:
    assert learn(700).rows == 512


def test_a_contract_comes_back_as_it_was() -> None:
    text = wire.encode(CONTRACT.to_json())
    assert Contract.from_json(wire.decode(text, where="guard")) == CONTRACT
    assert len(text) < 8000


def test_a_model_without_scores_or_rows_has_a_contract_too() -> None:
    learner = Learner((Takes(name="x", dtype="float32", shape=()),))
    learner.add({"x": np.float32(1).reshape(())}, {"y": np.zeros(3, np.float32)})
    assert learner.learn().rows == 0
    learner = Learner(TAKES)
    for seed in range(10):
        x = rows(seed, 32)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        learner.add({"x": x}, {"embedding": unit})
    contract = learner.learn()
    assert contract.scores is None and contract.tap is None
    assert {"range", "mahalanobis", "output_range"} <= set(contract.checks)
    assert not {"energy", "confidence", "abstain"} & set(contract.checks)


def test_probabilities_have_no_energy() -> None:
    learner = Learner(TAKES)
    for seed in range(10):
        x = rows(seed, 32)
        scores = np.exp(run({"x": x})["y"])
        learner.add({"x": x}, {"p": scores / scores.sum(axis=1, keepdims=True)})
    assert "energy" not in learner.learn().checks
    assert "confidence" in learner.learn().checks


def test_rows_of_varying_length_share_their_bounds() -> None:
    takes = (Takes(name="ids", dtype="int64", shape=("n", "length")),)
    learner, random = Learner(takes), np.random.default_rng(0)
    for length in (3, 9, 5, 7):
        ids = random.integers(100, 900, (32, length))
        learner.add({"ids": ids}, {"y": np.ones((32, 2), np.float32) * ids[:, :2]})
    contract = learner.learn()
    guard = Guard(contract, {"mahalanobis": "off"})
    good = {each.check: each.verdict for each in guard.inputs({"ids": np.full((1, 50), 500)})}
    assert good == {"shape": "ok", "finite": "ok", "range": "ok"}
    bad = {each.check: each.verdict for each in guard.inputs({"ids": np.full((1, 50), 90_000)})}
    assert bad["range"] == "flag"


# a contract that somebody changed


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"rows": -1},
        {"rows": "many"},
        {"fpr": 2.0},
        {"inputs": []},
        {"inputs": [{"name": "x", "dtype": "spam", "shape": []}]},
        {"inputs": [{"name": "x", "dtype": "float32", "shape": [None]}]},
        {"inputs": [{"name": "x", "dtype": "float32", "shape": [-1]}]},
        {"tap": {"tensor": "h", "dtype": "object", "zero": 0}},
        {"tap": {"tensor": "h"}},
        {"scores": 3},
        {"checks": {"nonsense": {"threshold": 0, "fpr": None, "params": {}}}},
        {"checks": {"shape": {"threshold": None, "fpr": None, "params": {}}}},
        {"checks": {"shape": {"threshold": 0, "fpr": 7, "params": {}}}},
        {"checks": {"shape": {"threshold": 0, "fpr": None, "params": {"a": 1}}}},
        {"checks": {"mahalanobis": {"threshold": 0, "fpr": None, "params": {}}}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        Contract.from_json({**CONTRACT.to_json(), **change})


def test_something_else_is_no_contract() -> None:
    for record in (None, 3, [], "guard", {}):
        with pytest.raises(IntegrityError):
            Contract.from_json(record)


def test_a_contract_tells_no_parameters_when_it_is_printed() -> None:
    assert "data" not in repr(CONTRACT)
    assert dataclasses.is_dataclass(CONTRACT)
