"""Fragile engines are tried where a crash costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from integer_graphs import grow
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine import trial
from intact.engine.backend import EngineError, Options
from intact.engine.backends import get
from intact.engine.choose import load
from intact.engine.conformance import make_vectors
from intact.errors import CheckFailed

PROGRAM = grow(2).program()
VECTORS = make_vectors(PROGRAM, "exact")


def survive(program=PROGRAM, vectors=VECTORS, engine="reference") -> None:
    backend = get(engine)
    trial.survive(backend, backend.variants[0], program, vectors, Options(threads=1))


def test_an_engine_that_conforms_survives():
    survive()


def test_an_engine_that_does_not_conform_is_told_from_one_that_fails():
    other = make_vectors(grow(3).program(), "exact")
    with pytest.raises(CheckFailed, match="engine reference does not conform: output 'y' of vector 0"):
        survive(vectors=other)
    graph = Graph()
    graph.output(graph.node("Neg", [graph.input("w", ["n", 3])]))
    with pytest.raises(EngineError, match="no span for input 'w'"):
        survive(program=graph.program())


@pytest.mark.parametrize(
    ("child", "text"),
    [
        ("import os; os.abort()", "reference crashes on this host or model: it ended with signal 6"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it ended with signal 11"),
        ("raise SystemExit('no such kernel')", "reference fails on this host: no such kernel"),
        ("", "reference fails on this host: no message"),
        ("import time; time.sleep(60)", "reference did not finish the self-test within"),
        ("print('{}')", "reference ended without an answer"),
    ],
)
def test_crashes_hangs_and_silence_are_errors_of_the_engine(monkeypatch, child, text):
    monkeypatch.setattr(trial, "CHILD", child)
    monkeypatch.setattr(trial, "TIMEOUT_S", 10 if "sleep" not in child else 0.5)
    with pytest.raises(EngineError, match=text):
        survive()


def test_without_an_interpreter_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(trial.sys, "executable", "")
    with pytest.raises(EngineError, match="no python interpreter"):
        survive()


@pytest.mark.skipif(get("openvino").why_unavailable() is not None, reason="openvino is not installed")
def test_a_crashing_openvino_leaves_the_next_engine(monkeypatch):
    monkeypatch.setattr(trial, "CHILD", "import os; os.abort()")
    loaded = load(PROGRAM, VECTORS, engines=["openvino", "onnxruntime"])
    assert loaded.engine.startswith("onnxruntime")
    assert [tried.name for tried in loaded.tried[:2]] == ["openvino", "openvino/float"]
    assert "signal 6" in loaded.tried[0].outcome


@pytest.mark.skipif(get("openvino").why_unavailable() is not None, reason="openvino is not installed")
def test_a_model_that_crashes_openvino_2026_4_is_loaded_all_the_same():
    """A value joined to itself and rounded twice ends that release with a segmentation fault."""
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 4, 6, 6], TensorProto.UINT8), 1.0)
    w = np.random.default_rng(0).integers(-127, 128, (4, 4, 1, 1))
    value = graph.requantize(graph.node("Conv", [value, graph.weight(w, [-8] * 4)]), 0)
    value = graph.requantize(graph.node("Concat", [value, value], axis=1), 1)
    graph.output(graph.requantize(value, 2))
    program = graph.program()
    loaded = load(program, make_vectors(program, "exact"))
    assert loaded.engine
