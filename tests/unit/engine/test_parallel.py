"""One batch over several workers gives what one session gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import grow, sample
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.backend import EngineError, Options, Session
from intact.engine.backends import get
from intact.engine.parallel import over_processes, over_threads
from intact.errors import DataError, UsageError

PROGRAM = grow(6).program()


def session(program=PROGRAM, engine="onnxruntime") -> Session:
    return get(engine).load(program, Options(threads=1), "default")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_threads_give_the_same_integers_in_the_same_order(workers, rows):
    one = session()
    x = {"x": sample(rows, rows)}
    with over_threads([one, *(session() for _ in range(workers - 1))]) as spread:
        assert spread.inputs == one.inputs and spread.outputs == one.outputs
        np.testing.assert_array_equal(spread.run(x)["y"], one.run(x)["y"])
        np.testing.assert_array_equal(spread.run(x)["y"], one.run(x)["y"])


def test_processes_give_the_same_integers_in_the_same_order():
    one = session()
    x = {"x": sample(3, 7)}
    with over_processes(PROGRAM, one, 2, Options(threads=1)) as spread:
        np.testing.assert_array_equal(spread.run(x)["y"], one.run(x)["y"])
        with pytest.raises(DataError, match="NaN"):
            spread.run({"x": x["x"] * np.nan})


def test_an_engines_error_comes_through_threads():
    def fail(inputs):
        raise EngineError("out of kernels", hint="buy more")

    with over_threads([replace(session(), execute=fail), session()]) as spread:
        with pytest.raises(EngineError, match="out of kernels") as raised:
            spread.run({"x": sample(0, 4)})
        assert raised.value.hint == "buy more"


def test_a_worker_that_cannot_load_is_an_engines_error():
    broken = replace(session(), engine="quantum")
    with (
        over_processes(PROGRAM, broken, 1, Options()) as spread,
        pytest.raises(EngineError, match="worker process ended"),
    ):
        spread.run({"x": sample(0, 4)})


def test_inputs_without_rows_go_to_every_worker():
    graph = Graph()
    x, w = graph.input("x", ["n", 3]), graph.input("w", [3])
    graph.output(graph.node("Add", [x, w]))
    one = session(graph.program())
    values = {"x": np.arange(12, dtype=np.float32).reshape(4, 3), "w": np.ones(3, np.float32)}
    with over_threads([one, one, one]) as spread:
        np.testing.assert_array_equal(spread.run(values)["y"], values["x"] + 1)


def test_models_without_rows_are_refused():
    fixed = Graph()
    fixed.output(fixed.node("Neg", [fixed.input("x", [4, 3])]))
    summed = Graph()
    summed.output(summed.node("ReduceSum", [summed.input("x", ["n", 3])], keepdims=0))
    for graph in (fixed, summed):
        with pytest.raises(UsageError, match="no rows to split a batch by"):
            over_threads([session(graph.program())])


def test_there_must_be_a_worker():
    with pytest.raises(UsageError, match="no session"):
        over_threads([])
    with pytest.raises(UsageError, match="0 workers"):
        over_processes(PROGRAM, session(), 0, Options())


def test_integer_inputs_are_dealt_out_too():
    graph = Graph()
    x = graph.dequantize(graph.input("x", ["n", 4], TensorProto.UINT8), 1.0, 3)
    graph.output(graph.node("MatMul", [x, graph.weight(np.eye(4), [0] * 4, 1)]))
    one = session(graph.program())
    codes = np.arange(40, dtype=np.uint8).reshape(10, 4)
    with over_threads([one, one]) as spread:
        np.testing.assert_array_equal(spread.run({"x": codes})["y"], codes.astype(np.float32) - 3)
