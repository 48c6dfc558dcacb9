"""The differentiable graph computes what onnxruntime computes, and has gradients and places to reach into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.errors import ModelError, UsageError
from intact.graph.capture import capture
from intact.graph.differentiable import Differentiable, layer_constants
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.torch_operators import FUNCTIONS
from intact.graph.view import Graph, Node, read
from support.nets import Net, cnn, data, mlp
from support.random_nets import networks
from support.transformer import encoder, sentences
from support.zoo import ZOO, member

Feeds = Mapping[str, np.ndarray[Any, Any]]


def tensors(feeds: Feeds) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in feeds.items()}


def check(graph: Graph, feeds: Feeds, *, close: float = 1e-4) -> None:
    """Both outputs are equal up to float noise, in the scale of the output."""
    wanted, found = Runner(graph)(feeds), Differentiable(graph)(tensors(feeds))
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        got = found[name].detach().numpy()
        assert got.shape == value.shape and got.dtype == value.dtype
        if value.dtype.kind != "f":
            assert np.array_equal(got, value)
            continue
        finite = np.isfinite(value)
        assert np.array_equal(got[~finite], value[~finite], equal_nan=True)
        assert np.abs(got - value)[finite].max(initial=0.0) <= close * max(1.0, np.abs(value[finite]).max(initial=0.0))


@pytest.mark.parametrize(("model", "shape"), [(mlp(), (5, 8)), (cnn(), (4, 3, 8, 8))])
def test_small_nets_agree_with_onnxruntime(model: bytes, shape: tuple[int, ...]) -> None:
    graph = normalise(load(model))
    check(graph, {"x": data(1, *shape)})


def test_a_transformer_agrees_with_onnxruntime() -> None:
    _, model = encoder()
    check(normalise(load(model)), sentences(6))


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"recurrent"}))
def test_the_zoo_agrees_with_onnxruntime(name: str) -> None:
    module, inputs, _ = member(name)
    graph = normalise(load(capture(module, dict(zip(_arguments(module), inputs, strict=True))).SerializeToString()))
    check(graph, {port.name: value for port, value in zip(graph.inputs, inputs, strict=True)}, close=1e-3)


def _arguments(module: torch.nn.Module) -> list[str]:
    return list(module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount])


@settings(max_examples=40, deadline=None)
@given(model=networks(), seed=st.integers(0, 10**6))
def test_random_nets_agree_with_onnxruntime(model: bytes, seed: int) -> None:
    graph = normalise(load(model))
    sizes = [3 if isinstance(size, str) else size for size in graph.inputs[0].shape]
    check(graph, {"x": data(seed, *sizes)}, close=1e-3)


def case(op: str, *shapes: tuple[int, ...], whole: tuple[tuple[int, ...], ...] = (), **attributes: Any) -> Any:
    return pytest.param(
        op, shapes, whole, attributes, id=f"{op}-{len(shapes)}-{'-'.join(map(str, attributes.values()))}"
    )


UNARY = (
    *("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Mish", "Neg", "Relu", "Round"),
    *("Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid"),
    *("ThresholdedRelu", "Gelu", "Softmax", "LogSoftmax", "Reciprocal", "Transpose", "Flatten", "Clip"),
)
POSITIVE = ("Sqrt", "Log", "Pow")
COMPARED = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
CASES = [
    *[case(op, (3, 4, 5)) for op in UNARY],
    case("Gelu", (3, 4), approximate="tanh"),
    case("Softmax", (3, 4, 5), axis=1),
    case("Selu", (3, 4), alpha=1.5, gamma=2.0),
    case("Transpose", (2, 3, 4), perm=[1, 0, 2]),
    case("Flatten", (2, 3, 4), axis=-1),
    case("Flatten", (2, 3, 4), axis=0),
    *[case(op, (3, 4), (4,)) for op in ("Add", "Sub", "Mul", "Div", "PRelu", "Max", "Min", *COMPARED)],
    case("Sum", (3, 4), (4,), (1, 4)),
    case("Concat", (2, 3), (2, 4), axis=-1),
    case("Gemm", (4, 3), (5, 4), (5,), transA=1, transB=1, alpha=0.5, beta=2.0),
    case("MatMul", (2, 3, 4), (4, 5)),
    case("Conv", (2, 4, 9), (6, 2, 3), (6,), group=2, strides=[2], pads=[1, 2]),
    case("Conv", (2, 3, 8, 8), (4, 3, 3, 3), pads=[1, 1, 1, 1], dilations=[2, 1]),
    case("Conv", (2, 3, 7, 8), (4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", (2, 3, 7, 8), (4, 3, 4, 3), auto_pad="SAME_LOWER"),
    case("Conv", (2, 3, 7, 8), (4, 3, 3, 3), auto_pad="VALID"),
    case("Conv", (1, 2, 4, 4, 4), (3, 2, 2, 2, 2)),
    case("ConvTranspose", (2, 3, 5, 5), (3, 4, 3, 3), (4,), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("MaxPool", (2, 3, 8, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", (2, 3, 8, 8), kernel_shape=[2, 3], pads=[0, 1, 1, 0], dilations=[2, 1]),
    case("MaxPool", (2, 3, 9), kernel_shape=[2], strides=[2], ceil_mode=1),
    case("AveragePool", (2, 3, 8, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", (2, 3, 8, 8), kernel_shape=[3, 3], pads=[1, 0, 0, 1], count_include_pad=1),
    case("AveragePool", (2, 3, 8), kernel_shape=[2], strides=[2]),
    case("GlobalAveragePool", (2, 3, 4, 5)),
    case("GlobalMaxPool", (2, 3, 4, 5)),
    case("BatchNormalization", (2, 3, 4), (3,), (3,), (3,), (-3,), epsilon=1e-3),
    case("InstanceNormalization", (2, 3, 4, 4), (3,), (3,), epsilon=1e-3),
    case("LayerNormalization", (2, 3, 4), (3, 4), (3, 4), axis=-2, epsilon=1e-3),
    case("LayerNormalization", (2, 3, 4), (4,)),
    *[case(op, (2, 3, 4), whole=((1, 2),), keepdims=0) for op in ("ReduceMean", "ReduceSum", "ReduceL2")],
    *[case(op, (2, 3, 4), whole=((-1,),)) for op in ("ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceLogSumExp")],
    case("ReduceMean", (2, 3, 4)),
    case("Reshape", (2, 3, 4), whole=((0, -1),)),
    case("Squeeze", (2, 1, 4, 1), whole=((1, -1),)),
    case("Squeeze", (2, 1, 4, 1)),
    case("Unsqueeze", (2, 4), whole=((0, -1),)),
    case("Expand", (1, 4), whole=((3, 1, 4),)),
    case("Tile", (2, 3), whole=((2, 1),)),
    case("Gather", (5, 3), whole=((0, -1, 2),)),
    case("Gather", (4, 5, 3), whole=((0, -1, 2),), axis=1),
    case("GatherElements", (3, 3), whole=((0, -1, 2),), axis=0),
    case("Slice", (6, 7), whole=((1, -1), (5, -100), (0, 1), (2, -2))),
    case("Slice", (6, 7), whole=((-4,), (100,), (-1,))),
    case("Pad", (2, 3, 4), whole=((0, 1, 2, 0, 0, 1),)),
    case("Pad", (2, 3, 4), whole=((0, 0, 2, 0, 0, 1),), mode="reflect"),
    case("Pad", (2, 3, 4), whole=((0, 0, 2, 0, 0, 1),), mode="edge"),
    case("DepthToSpace", (2, 8, 3, 3), blocksize=2),
    case("DepthToSpace", (2, 8, 3, 3), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (2, 2, 4, 6), blocksize=2),
    case("Cast", (3, 4), to=onnx.TensorProto.INT32),
    case("Shape", (3, 4, 5), start=1),
    case("Trilu", (4, 4), whole=((1,),), upper=0),
]


@pytest.mark.parametrize(("op", "shapes", "whole", "attributes"), CASES)
def test_an_operator_agrees_with_onnxruntime(
    op: str, shapes: tuple[tuple[int, ...], ...], whole: tuple[tuple[int, ...], ...], attributes: dict[str, Any]
) -> None:
    net = Net(x=list(shapes[0]))
    rest = [np.abs(net.normal(*map(abs, shape))) if min(shape) < 0 else net.normal(*shape) for shape in shapes[1:]]
    names = [net.constant(value) for value in rest]
    indices = [net.whole(*values) for values in whole]
    if op == "GatherElements":
        indices = [net.constant([whole[0]] * 3, dtype=np.int64)]
    if op == "Trilu":
        indices = [net.constant(whole[0][0], dtype=np.int64)]
    if op == "Clip":
        names = ["", net.constant(0.5)]
    made = net.op(op, "x", *names, *indices, **attributes)
    if op in (*COMPARED, "Cast", "Shape"):
        made = net.op("Cast", made, to=onnx.TensorProto.FLOAT)
    check(read(net.proto(made)), {"x": data(3, *shapes[0])})


@pytest.mark.parametrize("op", POSITIVE)
def test_an_operator_on_positive_values_agrees_with_onnxruntime(op: str) -> None:
    net = Net(x=["n", 4])
    rest = [net.constant(1.5)] if op == "Pow" else []
    check(read(net.proto(net.op(op, "x", *rest))), {"x": np.abs(data(0, 3, 4)) + np.float32(0.1)})


def test_truths_choose() -> None:
    net = Net(x=["n", 4])
    zero, half = net.constant(0.0), net.constant(0.5)
    first, second = net.op("Greater", "x", zero), net.op("Less", "x", half)
    both, either = net.op("And", first, second), net.op("Or", net.op("Not", first), second)
    made = net.op("Add", net.op("Where", both, "x", zero), net.op("Where", either, half, "x"))
    check(read(net.proto(made)), {"x": data(0, 6, 4)})


def test_several_outputs_and_shapes_that_are_computed() -> None:
    net = Net(x=["n", 6, 4])
    first, second = net.op("Split", "x", net.whole(2, 4), outputs=2, axis=1)
    size = net.op("Slice", net.op("Shape", "x"), net.whole(0), net.whole(1))
    shape = net.op("Concat", size, net.whole(-1), axis=0)
    zeros = net.op("ConstantOfShape", net.whole(2, 1))
    places = net.op("Cast", net.op("Range", *(net.constant(n, dtype=np.int64) for n in (0, 4, 1))), to=1)
    second = net.op("Add", second, places)
    total = net.op("Add", net.op("ReduceSum", second, net.whole(1, 2)), net.op("ReduceSum", zeros))
    graph = read(net.proto(net.op("Reshape", first, shape), total))
    check(graph, {"x": data(0, 3, 6, 4)})


@pytest.mark.parametrize("places", ["asymmetric", "half_pixel", "align_corners"])
def test_resize_agrees_with_onnxruntime(places: str) -> None:
    net = Net(x=["n", 2, 4, 5])
    mode = {"asymmetric": {"mode": "nearest", "nearest_mode": "floor"}}.get(places, {"mode": "linear"})
    scales = net.constant([1, 1, 2, 2])
    made = net.op("Resize", "x", "", scales, coordinate_transformation_mode=places, **mode)
    check(read(net.proto(made)), {"x": data(0, 2, 2, 4, 5)})


def test_every_operator_of_the_table_is_tried_here() -> None:
    tried = {each.values[0] for each in CASES} | set(POSITIVE)
    tried |= {"And", "Or", "Not", "Where", "ConstantOfShape", "Range", "Resize", "Split"}
    assert set(FUNCTIONS) == tried


def test_every_layer_constant_gets_the_gradient_of_finite_differences() -> None:
    graph = normalise(load(cnn()))
    feeds = {"x": data(1, 4, 3, 8, 8)}
    module = Differentiable(graph)
    (out,) = module(tensors(feeds)).values()
    (out.double() ** 2).sum().backward()
    generator = np.random.default_rng(0)
    for name, parameter in module.trained.items():
        direction = generator.normal(size=parameter.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        step = np.float32(1e-2)
        ends = []
        for sign in (1, -1):
            moved = {**graph.constants, name: graph.constants[name] + sign * step * direction}
            (value,) = Runner(replace(graph, constants=moved))(feeds).values()
            ends.append(float((value.astype(np.float64) ** 2).sum()))
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = float((parameter.grad.numpy() * direction).sum())
        assert slope == pytest.approx(expected, rel=0.05, abs=0.05), name


def test_trained_constants_come_back_as_a_graph() -> None:
    graph = normalise(load(mlp()))
    module = Differentiable(graph)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    feeds = {"x": data(1, 16, 8)}
    (out,) = module(tensors(feeds)).values()
    out.square().mean().backward()
    optimizer.step()
    trained = module.to_graph()
    assert trained.nodes == graph.nodes
    assert all(not np.array_equal(trained.constants[name], graph.constants[name]) for name in layer_constants(graph))
    assert all(trained.constants[name].dtype == np.float32 for name in layer_constants(graph))
    check(trained, feeds)
    now = module(tensors(feeds))
    for name, value in Runner(trained)(feeds).items():
        assert np.allclose(now[name].detach().numpy(), value, atol=1e-5)


def test_what_counts_as_trained() -> None:
    net = Net(x=["n", 4, 8])
    mask = net.constant(np.triu(np.full((4, 4), -1e4)), "mask")
    product = net.op("MatMul", "x", net.constant(net.normal(8, 4), "w"))
    shifted = net.op("Add", product, net.constant(net.normal(4), "b"))
    scaled = net.op("Mul", net.op("Add", shifted, mask), net.constant(0.5, "half"))
    graph = read(net.proto(scaled))
    assert layer_constants(graph) == ("w", "b")
    assert set(Differentiable(graph, trainable=["mask"]).trained) == {"mask"}


def test_hooks_reach_values_reads_and_constants() -> None:
    graph = normalise(load(cnn()))
    module = Differentiable(graph, fetch=[graph.outputs[0].name])
    feeds = tensors({"x": data(1, 2, 3, 8, 8)})
    before = module(feeds)[graph.outputs[0].name]
    seen = []
    module.on_value["x"] = lambda value: seen.append("x") or value * 1.0
    product = next(node for node in graph.nodes if node.op == "Conv")
    module.on_read[product.output, "x"] = lambda value: seen.append("read") or value
    module.on_constant[product.inputs[1]] = lambda value: seen.append("weight") or value * 0.0
    after = module(feeds)[graph.outputs[0].name]
    assert seen == ["x", "read", "weight"]
    assert not torch.equal(before, after)


def test_a_read_hook_concerns_one_reader_alone() -> None:
    net = Net(x=["n", 3])
    left, right = net.op("Relu", "x"), net.op("Neg", "x")
    graph = read(net.proto(left, right))
    module = Differentiable(graph)
    module.on_read[left, "x"] = lambda value: value + 100.0
    found = module({"x": torch.zeros(1, 3)})
    assert found[left].tolist() == [[100.0] * 3] and found[right].tolist() == [[0.0] * 3]


def test_a_bypassed_node_hands_its_input_on() -> None:
    net = Net(x=["n", 3])
    relu = net.op("Relu", "x")
    module = Differentiable(read(net.proto(relu)))
    module.bypass.add(relu)
    assert module({"x": torch.full((1, 3), -1.0)})[relu].tolist() == [[-1.0] * 3]


def test_a_value_inside_can_be_fetched() -> None:
    graph = normalise(load(cnn()))
    inside = [node.output for node in graph.nodes][:-1]
    feeds = {"x": data(1, 2, 3, 8, 8)}
    wanted = Runner(graph, fetch=inside)(feeds)
    found = Differentiable(graph, fetch=inside)(tensors(feeds))
    for name in inside:
        assert np.allclose(found[name].detach().numpy(), wanted[name], atol=1e-4)


def test_names_that_differ_only_in_their_dots_stay_apart() -> None:
    net = Net(x=["n", 3])
    first = net.op("Mul", "x", net.constant([1.0, 2.0, 3.0], "a.b"))
    second = net.op("Mul", first, net.constant([4.0, 5.0, 6.0], "a_b"))
    module = Differentiable(read(net.proto(second)))
    assert module.constant("a.b").tolist() == [1, 2, 3] and module.constant("a_b").tolist() == [4, 5, 6]
    assert len(module.state_dict()) == 2


def test_an_unknown_operator_is_named() -> None:
    net = Net(x=["n", 4, 4])
    graph = read(net.proto(net.op("Det", "x")))
    with pytest.raises(ModelError, match="'Det'"):
        Differentiable(graph)
    foreign = replace(graph, nodes=(Node(op="Relu", inputs=("x",), outputs=("y",), domain="somewhere"),))
    with pytest.raises(ModelError, match="somewhere.Relu"):
        Differentiable(foreign)


def test_forms_without_a_gradient_here_are_refused() -> None:
    net = Net(x=["n", 2, 8, 8])
    value, _ = net.op("MaxPool", "x", outputs=2, kernel_shape=[2, 2])
    with pytest.raises(ModelError, match="several outputs"):
        Differentiable(read(net.proto(value)))
    net = Net(x=["n", 2, 8, 8])
    scales = net.constant([1, 1, 1.5, 1.5])
    graph = read(net.proto(net.op("Resize", "x", "", scales, mode="cubic")))
    with pytest.raises(ModelError, match="Resize"):
        Differentiable(graph)({"x": torch.zeros(1, 2, 8, 8)})


def test_wrong_names_and_shapes_are_told() -> None:
    graph = normalise(load(mlp()))
    with pytest.raises(UsageError, match="nothing.weight"):
        Differentiable(graph, trainable=["nothing.weight"])
    with pytest.raises(UsageError, match="nowhere"):
        Differentiable(graph, fetch=["nowhere"])
    with pytest.raises(ModelError, match="Gemm"):
        Differentiable(graph)({"x": torch.zeros(2, 7)})
