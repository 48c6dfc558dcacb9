"""The reader may open the artifact and wants to know the calibration data; or writes contracts to break readers."""

from __future__ import annotations

import random as plain_random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

import intact
from intact import seal, wire
from intact.errors import IntegrityError
from intact.guard import Contract, Guard, Learner, Takes, Tap, covariance
from intact.guard.bounds import SHARED, limits
from support.nets import cnn, data

Array = np.ndarray[Any, Any]

TAKES = (Takes(name="x", dtype="float32", shape=("n", 30)),)
WEIGHTS = np.random.default_rng(9).normal(size=(30, 20)).astype("f4")
HEAD = np.random.default_rng(8).normal(size=(20, 4)).astype("f4") / 40


def codes(x: Array) -> Array:
    return np.clip(np.rint(np.maximum(x @ WEIGHTS, 0) * 8), 0, 255).astype(np.uint8)


def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {"y": (codes(feeds["x"]) @ HEAD).astype(np.float32)}


def learn(x: Array, features: Array | None = None) -> Contract:
    learner = Learner(TAKES, tap=Tap(tensor="h", dtype="uint8", zero=0), run=run)
    for at in range(0, len(x), 32):
        some = {"x": x[at : at + 32]}
        given = codes(some["x"]) if features is None else features[at : at + 32]
        learner.add(some, run(some), given, run(some))
    return learner.learn()


def records() -> Array:
    return np.random.default_rng(1).uniform(0, 1, (400, 30)).astype(np.float32)


def test_the_most_extreme_records_leave_no_trace_in_the_bounds() -> None:
    """Up to four records may lie anywhere: the bounds do not know of them."""
    usual, changed = records(), records()
    low, high = limits(learn(usual).checks["range"].params)
    column = usual[::2, 3].argsort()[-(SHARED - 1) :] * 2  # those learned from, with the largest values
    for value in (2.0, 777.25, 1e6):
        changed[column, 3] = value
        again = limits(learn(changed).checks["range"].params)
        np.testing.assert_array_equal(again[0], low)
        np.testing.assert_array_equal(again[1], high)


def test_no_bound_is_the_value_of_a_record() -> None:
    x = records()
    low, high = limits(learn(x).checks["range"].params)
    for column in range(30):
        assert not np.isin(np.float32([low[column], high[column]]), x[:, column]).any()
        steps = np.float64([low[column], high[column]]) * 2**10
        assert (steps == np.rint(steps)).all()  # lines of a coarse grid


def test_a_record_that_stands_alone_has_no_direction_of_its_own() -> None:
    """Its features, which nobody else has, cannot be read from the directions."""
    x = records()
    features = codes(x)
    features[:, -1] = 0
    lone = np.zeros(20, np.uint8)
    lone[-1] = 255
    features[100] = lone  # learned from: its number is even
    shape = covariance.read(learn(x, features).checks["mahalanobis"].params)
    lengths = np.linalg.norm(shape.directions, axis=0)
    assert (np.abs(shape.directions[-1]) / lengths < 0.5).all()
    assert (np.abs(shape.means[:, -1]) < 0.005).all()  # half a step of the eight bits that means have


def test_a_label_of_few_records_has_no_mean_of_its_own() -> None:
    features = np.random.default_rng(3).uniform(0, 1, (200, 6)).astype(np.float32)
    labels = np.zeros((200, 1), np.float32)
    labels[:9] = 1
    from intact.guard.check import Evidence

    learned = covariance.learn(Evidence(measured=np.concatenate([features, labels], axis=1)))
    assert learned is not None
    means = covariance.read(learned).means
    np.testing.assert_array_equal(means[1], means[2])
    assert not np.array_equal(means[0], means[2])


def test_a_contract_holds_less_than_its_records_by_far() -> None:
    """It is a few numbers a feature, whatever the number of records."""
    sizes = [len(wire.encode(learn(records()[:count]).to_json())) for count in (120, 400)]
    assert sizes[1] < records().nbytes / 5
    assert abs(sizes[1] - sizes[0]) < 600


def test_a_damaged_contract_is_refused_and_nothing_else_happens() -> None:
    """Every change of a byte gives a contract that can be judged by, or one and the same error."""
    text = bytearray(wire.encode(learn(records()).to_json()))
    random, refused = plain_random.Random(0), 0
    feeds = {"x": records()[:2]}
    for _ in range(600):
        broken = bytearray(text)
        broken[random.randrange(len(text))] = random.choice(b'0123456789"{}[],:-.eEabzZ/+=')
        try:
            contract = Contract.from_json(wire.parse(bytes(broken), where="guard"))
        except IntegrityError:
            refused += 1
            continue
        guard = Guard(contract, {"squeeze": "off"})
        guard.inputs(feeds)
        guard.outputs(feeds, run(feeds), codes(feeds["x"]))
    assert refused > 100


def test_a_contract_that_asks_for_much_memory_is_refused_at_once() -> None:
    record = learn(records()).to_json()
    params = record["checks"]["mahalanobis"]["params"]
    start = time.process_time()
    for shape in ([1 << 40, 1 << 20], [1 << 17, 20], [0, 1 << 50]):
        broken = {**params, "means": {**params["means"], "shape": shape, "data": "AAAA" * 100}}
        checks = {**record["checks"], "mahalanobis": {**record["checks"]["mahalanobis"], "params": broken}}
        try:
            Contract.from_json({**record, "checks": checks})
        except IntegrityError:
            continue
        raise AssertionError(shape)
    assert time.process_time() - start < 1


def test_a_contract_cannot_be_swapped_in_a_signed_artifact(tmp_path: Any) -> None:
    """Whoever loosens a threshold in the header has to sign again."""
    keys = seal.SigningKey.generate()
    spec = intact.Spec(model=cnn(), calibration=data(1, 200, 3, 8, 8))
    options: dict[str, Any] = {"engines": ["onnxruntime"], "signer": keys, "revisions": False}
    intact.build(spec, out=tmp_path / "with", **options)
    intact.build(spec, out=tmp_path / "without", guard=False, **options)
    header = (tmp_path / "without" / "header.bin").read_bytes()
    (tmp_path / "with" / "header.bin").write_bytes(header)
    try:
        intact.open(tmp_path / "with", signer=keys.verifying_key, engines=["onnxruntime"], revisions=False)
    except IntegrityError:
        return
    raise AssertionError("another header was accepted")
