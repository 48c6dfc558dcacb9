"""Which tensors an engine reads where they lie: tried on engines that do and engines that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intact import engine
from intact.engine import Options, Session, TensorSpec, read_in_place
from intact.engine.backend import Arrays, EngineError
from intact.engine.backends import get
from intact.engine.choose import COPIES
from intact.graph import Program
from intact.graph.program import memory_of
from support.nets import cnn, data

FEEDS = {"x": np.float32([1, 2])}
SPECS = (TensorSpec(name="x", dtype="float32", shape=(2,)),)


def fake(tensors: dict[str, Any], run: Any) -> Session:
    """Return a session that computes with `run`."""
    weights = {name: memory_of(tensor) for name, tensor in tensors.items()}
    return Session(engine="fake", variant="default", inputs=SPECS, outputs=SPECS, execute=run, weights=weights)


def tensors() -> dict[str, Any]:
    found: dict[str, Any] = {
        "i1": np.ones(2, np.int8),
        "u1": np.ones(2, np.uint8),
        "i4": np.ones(2, np.int32),
        "f4": np.ones(2, np.float32),
    }
    for tensor in found.values():
        tensor.flags.writeable = False
    return found


@pytest.mark.parametrize("name", ["i1", "u1", "i4", "f4"])
def test_what_is_read_is_found(name: str) -> None:
    held = tensors()

    def run(values: Arrays) -> dict[str, Any]:
        return {"x": values["x"] * held[name]}

    before = {key: value.copy() for key, value in held.items()}
    assert read_in_place(fake(held, run), held, FEEDS) == {name}
    assert all(np.array_equal(held[key], before[key]) for key in held)


def test_what_is_copied_is_not() -> None:
    held = tensors()
    copies = {name: tensor.copy() for name, tensor in held.items()}

    def run(values: Arrays) -> dict[str, Any]:
        return {"x": values["x"] * sum(float(copy.sum()) for copy in copies.values())}

    assert read_in_place(fake(held, run), held, FEEDS) == frozenset()


def test_an_engine_that_fails_on_changed_weights_read_them() -> None:
    held = tensors()

    def run(values: Arrays) -> dict[str, Any]:
        if held["i4"][0] != 1:
            raise EngineError("an index is out of range")
        return {"x": values["x"]}

    assert read_in_place(fake(held, run), held, FEEDS) == {"i4"}
    assert held["i4"].tolist() == [1, 1]


def test_what_may_hold_shapes_is_not_tried() -> None:
    held = {"shape": np.ones(2, np.int64)}
    seen = []

    def run(values: Arrays) -> dict[str, Any]:
        seen.append(held["shape"].tolist())
        return {"x": values["x"]}

    assert read_in_place(fake(held, run), held, FEEDS) == frozenset()
    assert seen == [[1, 1]]


@pytest.fixture(scope="module")
def program() -> Program:
    import intact

    return intact.build(intact.Spec(model=cnn(), calibration=data(1, 64, 3, 8, 8)), engines=["onnxruntime"]).program


def test_onnxruntime_reads_in_place_where_it_is_asked_to(program: Program) -> None:
    feeds = {"x": data(3, 4, 3, 8, 8)}
    session = get("onnxruntime").load(program, Options(threads=1, in_place=True), "default")
    packed = get("onnxruntime").load(program, Options(threads=1), "default")
    before = packed.run(feeds)
    assert set(session.weights) == set(program.tensors)
    assert read_in_place(session, program.tensors, feeds) == set(program.tensors)
    for name, value in session.run(feeds).items():
        assert np.array_equal(value, before[name])


def test_engines_that_copy_are_not_asked(program: Program) -> None:
    vectors = engine.make_vectors(program, "exact")
    loaded = engine.load(program, vectors, engines=["onnxruntime", "reference"], options=Options(in_place=True))
    assert loaded.session.engine == "onnxruntime"
    assert {each.name: each.outcome for each in loaded.tried}["reference"] == COPIES
