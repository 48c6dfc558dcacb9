"""Normalising leaves the function as it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import Graph, read

helper, TensorProto = onnx.helper, onnx.TensorProto
RNG = np.random.default_rng(0)


def build(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: list[object], opset: int = 21
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(proto)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def batch_norm(channels: int) -> dict[str, np.ndarray]:
    return {"g": floats(channels), "b": floats(channels), "m": floats(channels), "v": np.abs(floats(channels)) + 0.5}


CASES = {
    "gemm without transB": (
        [helper.make_node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0)],
        {"w": floats(6, 4), "c": floats(4)},
        ["n", 6],
        ["Gemm"],
    ),
    "matmul and add": (
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["c", "h"], ["y"])],
        {"w": floats(6, 4), "c": floats(4)},
        ["n", 6],
        ["Gemm"],
    ),
    "matmul alone": ([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": floats(6, 4)}, ["n", 6], ["Gemm"]),
    "batch norm after gemm": (
        [
            helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
            helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"]),
        ],
        {"w": floats(4, 6), **batch_norm(4)},
        ["n", 6],
        ["Gemm"],
    ),
    "batch norm after conv": (
        [
            helper.make_node("Conv", ["x", "w"], ["h"]),
            helper.make_node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"]),
        ],
        {"w": floats(5, 3, 3, 3), **batch_norm(5)},
        ["n", 3, 8, 8],
        ["Conv"],
    ),
    "batch norm alone": (
        [
            helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["h"]),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        batch_norm(3),
        ["n", 3, 8, 8],
        ["Conv", "Relu"],
    ),
    "mean over the image": (
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
        {"axes": np.array([2, 3])},
        ["n", 3, 8, 8],
        ["GlobalAveragePool", "Flatten"],
    ),
    "two slices": (
        [
            helper.make_node("Slice", ["x", "one", "seven", "two", "two"], ["h"]),
            helper.make_node("Slice", ["h", "one", "seven", "three", "two"], ["y"]),
        ],
        {name: np.array([value]) for name, value in {"one": 1, "two": 2, "three": 3, "seven": 7}.items()},
        ["n", 3, 8, 8],
        ["Slice"],
    ),
    "two slices of one axis": (
        [
            helper.make_node("Slice", ["x", "one", "seven", "two"], ["h"]),
            helper.make_node("Slice", ["h", "one", "three", "two"], ["y"]),
        ],
        {name: np.array([value]) for name, value in {"one": 1, "two": 2, "three": 3, "seven": 7}.items()},
        ["n", 3, 8, 8],
        ["Slice", "Slice"],
    ),
    "per-channel affine": (
        [helper.make_node("Sub", ["x", "m"], ["h"]), helper.make_node("Div", ["h", "s"], ["y"])],
        {"m": floats(1, 3, 1, 1), "s": np.abs(floats(1, 3, 1, 1)) + 0.5},
        ["n", 3, 8, 8],
        ["Conv"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_function_stays_and_the_spelling_is_one(case: str) -> None:
    nodes, constants, shape, wanted = CASES[case]
    proto = build(nodes, constants, shape)
    made = normalise(proto)
    x = floats(*(2 if isinstance(size, str) else size for size in shape))
    before, after = Runner(read(proto))({"x": x})["y"], Runner(made)({"x": x})["y"]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    assert [node.op for node in made.nodes] == wanted


def test_older_opsets_are_raised() -> None:
    proto = build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": floats(6, 4)}, ["n", 6], opset=11)
    assert normalise(proto).opset == 21


def test_a_graph_survives_being_written_and_read() -> None:
    nodes, constants, shape, _ = CASES["batch norm after conv"]
    graph = normalise(build(nodes, constants, shape))
    again = read(graph.to_proto())
    assert isinstance(again, Graph)
    assert again.nodes == graph.nodes
    assert again.to_proto().SerializeToString(deterministic=True) == graph.to_proto().SerializeToString(
        deterministic=True
    )
