"""Graphs whose large tensors lie beside them."""

from __future__ import annotations

import gc
from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.program import INLINE_LIMIT_BYTES, Program
from intact.graph.run import Runner
from intact.graph.view import Graph, read
from support.nets import data, mlp

X = data(0, 4, 8)


def graph() -> Graph:
    return read(load(mlp()))


def test_a_graph_makes_the_same_program_as_the_model_written_of_it() -> None:
    direct, written = Program.from_graph(graph()), Program.from_proto(graph().to_proto())
    assert direct.model == written.model
    assert list(direct.tensors) == list(written.tensors)
    assert all(np.array_equal(direct.tensors[name], written.tensors[name]) for name in written.tensors)


def test_large_constants_are_not_copied_and_small_ones_lie_inside() -> None:
    made = graph()
    program = Program.from_graph(made)
    large = {name for name, value in made.constants.items() if value.nbytes > INLINE_LIMIT_BYTES}
    assert 0 < len(large) < len(made.constants)
    assert set(program.tensors) == large
    assert all(np.shares_memory(program.tensors[name], made.constants[name]) for name in large)


def test_a_constant_that_is_not_contiguous_is_made_so() -> None:
    made = graph()
    name, value = next((name, value) for name, value in made.constants.items() if value.ndim == 2)
    turned = np.asfortranarray(value)
    found = Program.from_graph(replace(made, constants={**made.constants, name: turned})).tensors[name]
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, value)


def test_graph_model_and_program_run_alike() -> None:
    made = graph()
    wanted = Runner(made.to_proto())({"x": X})["gemm2"]
    for model in (made, Program.from_graph(made)):
        np.testing.assert_array_equal(Runner(model)({"x": X})["gemm2"], wanted)


def test_a_runner_keeps_the_tensors_that_it_reads() -> None:
    runner = Runner(load(mlp(hidden=512)))
    wanted = runner({"x": X})["gemm2"]
    gc.collect()
    junk = [np.full(count * 512, np.nan, np.float32) for count in (8, 3) * 50]  # lies where freed weights were
    np.testing.assert_array_equal(runner({"x": X})["gemm2"], wanted)
    assert len(junk) == 100


def test_weights_that_normalising_leaves_alone_stay_where_they_are() -> None:
    program = Program.from_proto(load(mlp()))
    constants = normalise(program).constants
    shared = [name for name in program.tensors if name in constants]
    assert shared
    assert all(np.shares_memory(constants[name], program.tensors[name]) for name in shared)


@pytest.mark.parametrize("columns", [32, 33])
def test_nibbles_run_as_onnx_says(columns: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-8, 8, (25, columns)).astype(ml_dtypes.int4)  # an odd number of them, too
    weights = helper.make_node("Cast", ["w"], ["f"], to=onnx.TensorProto.FLOAT)
    product = helper.make_node("MatMul", ["x", "f"], ["y"])
    ports = [helper.make_tensor_value_info(*port) for port in (("x", 1, ["n", 25]), ("y", 1, ["n", columns]))]
    whole = helper.make_graph([weights, product], "g", ports[:1], ports[1:], [onnx.numpy_helper.from_array(codes, "w")])
    proto = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = rng.standard_normal((3, 25)).astype(np.float32)
    assert np.allclose(Runner(proto)({"x": x})["y"], x @ codes.astype(np.float32), atol=1e-4)
    normal = normalise(proto)
    assert np.allclose(Runner(normal)({"x": x})[normal.outputs[0].name], x @ codes.astype(np.float32), atol=1e-4)


def test_large_texts_stay_inside_the_graph() -> None:
    words = onnx.numpy_helper.from_array(np.array([f"word {i}" for i in range(100)], dtype=object), "words")
    whole = helper.make_graph([], "g", [], [], [words])
    assert Program.from_proto(helper.make_model(whole)).tensors == {}
