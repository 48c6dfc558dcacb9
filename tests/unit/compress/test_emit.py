"""The integer graph that is written: plain ONNX, the same each time, names of its own."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from intact.compress.recipe import LayerRecipe, Recipe
from intact.errors import ModelError
from intact.numbers import dyadic
from support.nets import Net, cnn, data
from support.stages import compress

X = data(1, 32, 3, 8, 8)


def test_the_graph_passes_onnx_own_checker_and_is_of_opset_21() -> None:
    proto = compress(cnn(), {"x": X}).program.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 21)]
    assert proto.ir_version == 10


def test_weights_are_int8_biases_int32_and_activations_uint8() -> None:
    made = compress(cnn(), {"x": X})
    constants = made.emission.graph.constants
    assert {constants[f"{layer}.w"].dtype for layer in ("stem", "body", "head")} == {np.dtype(np.int8)}
    assert {constants[f"{layer}.b"].dtype for layer in ("stem", "body", "head")} == {np.dtype(np.int32)}
    zeros = [constants[node.inputs[2]] for node in made.emission.graph.nodes if node.op == "QuantizeLinear"]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.uint8)}


def test_every_scale_but_the_input_quantizers_is_a_power_of_two() -> None:
    graph = compress(cnn(), {"x": X}).emission.graph
    for node in graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear") and node.inputs[0] != "x":
            assert dyadic.is_power_of_two(graph.constants[node.inputs[1]]).all()


def test_biases_are_in_steps_of_input_times_weight() -> None:
    made = compress(cnn(), {"x": X})
    for layer, source in (("stem", "x"), ("body", made.plan.layers[1].nodes[0].inputs[0])):
        constants = made.emission.graph.constants
        np.testing.assert_array_equal(
            constants[f"{layer}.t"], np.float32(made.encodings[source].scale) * constants[f"{layer}.s"]
        )


@pytest.mark.parametrize("method", ["nearest", "stochastic"])
def test_the_same_build_gives_the_same_bytes(method: str) -> None:
    recipe = Recipe(default=LayerRecipe(method=method, weights=4))
    first, second = (compress(cnn(), {"x": X}, recipe).program for _ in range(2))
    assert first.model == second.model
    assert first.tensors.keys() == second.tensors.keys()
    assert all(first.tensors[name].tobytes() == second.tensors[name].tobytes() for name in first.tensors)


def test_another_seed_gives_other_stochastic_codes() -> None:
    first, second = (
        compress(cnn(), {"x": X}, Recipe(seed=seed, default=LayerRecipe(method="stochastic", weights=4)))
        for seed in (0, 1)
    )
    assert (first.emission.solutions["body"].codes.q != second.emission.solutions["body"].codes.q).any()


def test_inputs_and_outputs_keep_names_and_shapes() -> None:
    net = Net(0, image=["rows", 3, "high", "wide"])
    first = net.op("Relu", net.conv("image", net.normal(4, 3, 3, 3), net.normal(4), "a"))
    model = net.bytes(first, net.conv(first, net.normal(2, 4, 1, 1), net.normal(2), "b"))
    made = compress(model, {"image": X})
    assert made.emission.graph.inputs == made.graph.inputs
    assert [port.name for port in made.emission.graph.outputs] == [port.name for port in made.graph.outputs]
    assert made.emission.graph.inputs[0].shape == ("rows", 3, "high", "wide")


@pytest.mark.parametrize("name", ["x_q", "x_r", "a.w", "a.bf"])
def test_a_name_that_the_graph_needs_itself_is_refused(name: str) -> None:
    net = Net(0, x=["n", 8])
    proto = net.proto(net.op("Softmax", net.gemm("x", net.normal(4, 8), net.normal(4), "a")))
    proto.graph.node.append(helper.make_node("Softmax", [proto.graph.output[0].name], [name]))
    proto.graph.node.append(helper.make_node("Gemm", [name, "b.weight"], ["end"], transB=1))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(net.normal(2, 4), "b.weight"))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("end", onnx.TensorProto.FLOAT, ["n", 2]))
    with pytest.raises(ModelError, match=f"needs the name '{name}'") as refused:
        compress(proto.SerializeToString(), {"x": data(0, 64, 8)})
    assert "rename" in str(refused.value.hint)


def test_values_of_very_different_size_are_brought_nearer_before_they_are_added() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    first = net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "large")
    small = net.conv("x", net.normal(4, 3, 1, 1, scale=1e-12), net.normal(4, scale=1e-12), "small")
    made = compress(net.bytes(net.op("Relu", net.op("Add", first, small))), {"x": X})
    steps = [
        node
        for node in made.emission.graph.nodes
        if node.op == "QuantizeLinear" and node.outputs[0].startswith(f"{small}_q")
    ]
    assert len(steps) > 1
    assert made.encodings[small].exponent < made.encodings[first].exponent - 30


def test_the_size_of_a_coded_tensor_needs_no_floats() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    first = net.op("Relu", net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "a"))
    rows = net.op("Gather", net.op("Shape", first), net.whole(0))
    flat = net.op("Reshape", first, net.op("Concat", rows, net.whole(-1), axis=0))
    made = compress(net.bytes(net.gemm(flat, net.normal(3, 256), None, "b")), {"x": X})
    shape = next((node for node in made.emission.graph.nodes if node.op == "Shape"), None)
    assert made.plan.exact
    assert shape is None or shape.inputs[0].endswith("_q")
