"""One spelling per idea, and never another function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from intact.errors import ModelError
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import Graph
from support.nets import Net, data


def unoptimised(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """An oracle: the model as it is written, no optimizer at work."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def normalised(model: bytes, feeds: dict[str, np.ndarray]) -> Graph:
    """Normalise, and check the function."""
    graph = normalise(load(model))
    runner = Runner(graph)
    for wanted, found in zip(unoptimised(model, feeds), runner(feeds).values(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def swapped(net: Net, x: str, folded: tuple[int, ...], made: tuple[int, ...]) -> str:
    """Reshape, transpose of the last two axes, Reshape."""
    turned = net.op("Transpose", net.op("Reshape", x, net.whole(*folded)), perm=[0, 2, 1])
    return str(net.op("Reshape", turned, net.whole(*made)))


def test_the_transposition_of_keys_is_one_transpose() -> None:
    net = Net(0, x=["n", 4, 10, 8])
    model = net.bytes(net.op("Relu", swapped(net, "x", (-1, 10, 8), (-1, 4, 8, 10))))
    graph = normalised(model, {"x": data(0, 3, 4, 10, 8)})
    assert ops(graph) == ["Transpose", "Relu"]
    assert list(graph.nodes[0].attributes["perm"]) == [0, 1, 3, 2]


@pytest.mark.parametrize("side", [(6, 6, 4), (8, 8, 8), (4, 8, 8), (8, 4, 8)])
def test_tokens_that_become_a_picture_are_no_keys(side: tuple[int, int, int]) -> None:
    """(rows, H, W, C) flattened to (rows, H * W, C), transposed, and folded to (rows, C, H, W)."""
    high, wide, channels = side
    net = Net(0, x=["n", high, wide, channels])
    model = net.bytes(net.op("Relu", swapped(net, "x", (-1, high * wide, channels), (-1, channels, high, wide))))
    normalised(model, {"x": data(0, 3, high, wide, channels)})


def test_several_products_of_one_tensor_are_merged() -> None:
    net = Net(0, x=["n", 5, 8])
    parts = [
        net.op(
            "Add",
            net.op("MatMul", "x", net.constant(net.normal(8, size), f"{name}.weight")),
            net.constant(net.normal(size), f"{name}.bias"),
        )
        for name, size in (("a.query", 4), ("a.key", 6))
    ]
    model = net.bytes(*(net.op("Softmax", part) for part in parts))
    graph = normalised(model, {"x": data(0, 3, 5, 8)})
    assert ops(graph).count("MatMul") == 1
    assert "a.merged.weight" in graph.constants


def test_a_product_that_is_an_output_itself_is_not_merged() -> None:
    net = Net(0, x=["n", 5, 8])
    first = net.op("MatMul", "x", net.constant(net.normal(8, 4)))
    second = net.op("MatMul", "x", net.constant(net.normal(8, 4)))
    normalised(
        net.bytes(
            first, net.op("Add", first, net.constant(net.normal(4))), net.op("Add", second, net.constant(net.normal(4)))
        ),
        {"x": data(0, 3, 5, 8)},
    )


def test_a_pad_before_a_maximum_keeps_its_zeros() -> None:
    """onnxruntime's own fusion takes them for minus infinity."""
    net = Net(0, x=["n", 1, 4, 4])
    padded = net.op("Pad", "x", net.whole(0, 0, 1, 1, 0, 0, 1, 1))
    model = net.bytes(net.op("MaxPool", padded, kernel_shape=[2, 2]))
    normalised(model, {"x": -np.abs(data(0, 2, 1, 4, 4)) - 1})


def test_a_pad_wider_than_the_window_runs() -> None:
    net = Net(0, x=["n", 1, 4, 4])
    padded = net.op("Pad", "x", net.whole(0, 0, 2, 2, 0, 0, 2, 2))
    normalised(net.bytes(net.op("MaxPool", padded, kernel_shape=[1, 1])), {"x": data(0, 2, 1, 4, 4)})


AFFINE: dict[str, Callable[[Net, str], str]] = {
    "add": lambda net, x: net.op("Add", x, net.constant(net.normal(1, 3, 1, 1))),
    "reversed add": lambda net, x: net.op("Add", net.constant(net.normal(1, 3, 1, 1)), x),
    "sub": lambda net, x: net.op("Sub", x, net.constant(net.normal(3, 1, 1))),
    "reversed sub": lambda net, x: net.op("Sub", net.constant(net.normal(3, 1, 1)), x),
    "mul": lambda net, x: net.op("Mul", x, net.constant(net.normal(3, 1, 1))),
    "div": lambda net, x: net.op("Div", x, net.constant(np.abs(net.normal(3, 1, 1)) + 0.5)),
    "reversed div": lambda net, x: net.op("Div", net.constant(net.normal(3, 1, 1)), net.op("Exp", x)),
    "by column": lambda net, x: net.op("Mul", x, net.constant(net.normal(8))),
    "by row of the picture": lambda net, x: net.op("Mul", x, net.constant(net.normal(8, 1))),
    "by pixel": lambda net, x: net.op("Add", x, net.constant(net.normal(8, 8))),
    "one number": lambda net, x: net.op("Mul", x, net.constant(0.3)),
    "by itself": lambda net, x: net.op("Mul", x, x),
}


@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize("case", AFFINE)
def test_arithmetic_with_constants_keeps_the_function(case: str, stem: bool) -> None:
    net = Net(0, x=["n", 3, 8, 8])
    first = net.conv("x", net.normal(3, 3, 1, 1), net.normal(3)) if stem else "x"
    normalised(net.bytes(net.op("Relu", AFFINE[case](net, first))), {"x": data(0, 3, 3, 8, 8)})


def test_gains_go_into_the_product_before_unless_another_reads_it() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    first = net.conv("x", net.normal(3, 3, 1, 1), net.normal(3))
    scaled = net.op("Mul", first, net.constant(net.normal(3, 1, 1)))
    assert ops(normalised(net.bytes(scaled), {"x": data(0, 3, 3, 8, 8)})) == ["Conv"]
    assert ops(normalised(net.bytes(net.op("Concat", first, scaled, axis=1)), {"x": data(0, 3, 3, 8, 8)})) == [
        "Conv",
        "Conv",
        "Concat",
    ]


def test_newer_operators_are_refused_by_name() -> None:
    net = Net(0, x=["n", 8])
    made = net.op("RMSNormalization", "x", net.constant(net.normal(8)))
    proto = net.proto(made, opset=23)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, ["n", 8]))
    with pytest.raises(ModelError, match="'RMSNormalization' is written in a form newer than opset 21") as refused:
        normalise(load(proto.SerializeToString()))
    assert "opset 21" in str(refused.value.hint)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21, 24])
def test_plain_models_of_any_opset_are_taken(opset: int) -> None:
    net = Net(0, x=["n", 8])
    made = net.gemm(net.op("Relu", net.gemm("x", net.normal(8, 8), net.normal(8))), net.normal(4, 8), net.normal(4))
    proto = net.proto(made, opset=opset)
    proto.ir_version = 8
    assert ops(normalised(proto.SerializeToString(), {"x": data(0, 3, 8)})) == ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_other_widths_of_float_are_refused(kind: type) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((4, 8), kind), "w")
    element = weight.data_type
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        "g",
        [onnx.helper.make_tensor_value_info("x", element, ["n", 8])],
        [onnx.helper.make_tensor_value_info("y", element, ["n", 4])],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(ModelError, match=f"is {np.dtype(kind)}, and only float32 models"):
        normalise(load(model.SerializeToString()))


def test_control_flow_is_refused_by_name() -> None:
    net = Net(0, x=["n", 8])
    flag = net.op("Squeeze", net.op("Greater", net.op("ReduceSum", "x"), net.constant(0.0)))
    branches = [
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["x"], [op])],
            op,
            [],
            [onnx.helper.make_tensor_value_info(op, onnx.TensorProto.FLOAT, ["n", 8])],
        )
        for op in ("Relu", "Sigmoid")
    ]
    made = net.op("If", flag, then_branch=branches[0], else_branch=branches[1])
    with pytest.raises(ModelError, match="holds a subgraph, which is not supported"):
        normalise(load(net.bytes(made)))
