"""What becomes of every node of a float graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from intact.compress.plan import FLOAT, Plan, observed, plan
from intact.compress.recipe import LayerRecipe, Override, Recipe
from intact.graph.load import load
from intact.graph.normalise import normalise
from support.nets import Net, cnn, data, mlp
from support.stages import compress, sqnr_db


def planned(model: bytes, recipe: Recipe | None = None) -> Plan:
    return plan(normalise(load(model)), recipe or Recipe())


def test_a_convolutional_net_lives_in_codes_and_is_exact() -> None:
    made = planned(cnn())
    assert made.layout == "codes"
    assert made.exact
    assert made.power_of_two
    assert [step.layer for step in made.layers] == ["stem", "body", "head"]
    assert not made.floats
    assert made.coded < set(observed(made)) | made.coded


def test_bias_and_relu_are_one_step_with_their_product() -> None:
    made = planned(mlp())
    assert [[node.op for node in step.nodes] for step in made.steps] == [["Gemm", "Relu"], ["Gemm"]]


def test_every_node_is_in_one_step() -> None:
    made = planned(cnn())
    nodes = [id(node) for step in made.steps for node in step.nodes]
    assert sorted(nodes) == sorted(id(node) for node in made.graph.nodes)


def test_layer_norm_is_the_mark_of_islands() -> None:
    net = Net(0, x=["n", 5, 8])
    normed = net.op("LayerNormalization", "x", net.constant(np.ones(8)), net.constant(np.zeros(8)))
    made = planned(net.bytes(net.op("MatMul", normed, net.constant(net.normal(8, 4), "w"))))
    assert made.layout == "islands"
    assert not made.exact
    assert not made.power_of_two


def test_dynamic_or_weight_only_default_needs_no_codes() -> None:
    for activations in ("dynamic", "none"):
        made = planned(cnn(), Recipe(default=LayerRecipe(activations=activations)))
        assert made.layout == "islands"
        assert not made.coded


def test_tolerant_codes_have_free_scales() -> None:
    made = planned(cnn(), Recipe(profile="tolerant"))
    assert made.layout == "codes"
    assert not made.power_of_two
    assert not made.exact


def test_sizes_and_indices_are_no_float_operators() -> None:
    """A flattening spelled with the batch's own size keeps the model exact."""
    net = Net(0, x=["n", 3, 4, 4])
    made = net.op("Relu", net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "first"))
    rows = net.op("Gather", net.op("Shape", made), net.whole(0))
    sizes = net.op("Concat", rows, net.whole(-1), axis=0)
    twice = net.op("Div", net.op("Mul", sizes, net.whole(2)), net.whole(2))
    flat = net.op("Reshape", made, twice)
    model = net.bytes(net.gemm(flat, net.normal(5, 64, scale=0.1), net.normal(5), "last"))
    planned_net = planned(model)
    assert planned_net.exact, [step.reason for step in planned_net.floats]
    feeds = {"x": data(0, 16, 3, 4, 4)}
    compressed = compress(model, feeds)
    name = compressed.graph.outputs[0].name
    wanted = compressed.run("reference", feeds)[name]
    np.testing.assert_array_equal(compressed.run("onnxruntime", feeds)[name], wanted)
    assert sqnr_db(compressed.float_run(feeds)[name], wanted) > 30


def test_arithmetic_on_sizes_is_not_taken_for_a_lookup() -> None:
    net = Net(0, x=["n", 4, 6])
    made = net.op("Relu", net.conv("x", net.normal(4, 4, 1), net.normal(4), "first"))
    width = net.op("Gather", net.op("Shape", made), net.constant(2, dtype=np.int64))
    half = net.op("Div", width, net.constant(2, dtype=np.int64))
    part = net.op("Slice", made, net.whole(0), net.op("Unsqueeze", half, net.whole(0)), net.whole(2))
    made_plan = planned(net.bytes(part))
    assert all(
        node.op not in ("Div", "Gather") for step in made_plan.steps for node in step.nodes if step.operator != FLOAT
    )


def test_shared_weights_are_layers_of_their_own() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    weight = net.normal(3, 3, 3, 3, scale=0.3)
    first = net.op("Relu", net.conv("x", weight, net.normal(3), "twin", pads=[1] * 4))
    model = net.bytes(net.op("Conv", first, "twin.weight", "twin.bias", pads=[1] * 4))
    made = planned(model)
    assert [step.layer for step in made.layers] == ["twin", "twin~2"]
    only_second = planned(model, Recipe(overrides=(Override(pattern="twin~2", settings={"weights": "float"}),)))
    assert [step.layer for step in only_second.layers] == ["twin"]


def test_moves_between_float_operators_stay_float_without_a_word() -> None:
    net = Net(0, x=["n", 4, 8])
    made = net.op("Softmax", net.op("Transpose", net.op("Softmax", "x"), perm=[0, 2, 1]))
    found = planned(net.bytes(made))
    assert [step.operator for step in found.steps] == [FLOAT] * 3
    assert [node.op for step in found.floats for node in step.nodes] == ["Softmax", "Softmax"]
    assert not found.coded


def test_a_custom_operator_stays_float() -> None:
    net = Net(0, x=["n", 4])
    proto = net.proto(net.gemm("x", net.normal(3, 4), net.normal(3), "a"))
    made = plan(normalise(load(proto.SerializeToString())), Recipe())
    assert made.exact
    inverse = helper.make_node("Det", ["m"], ["d"])
    square = helper.make_graph(
        [inverse],
        "g",
        [helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, ["n", 3, 3])],
        [helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(square, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = plan(normalise(load(model.SerializeToString())), Recipe())
    assert [step.reason for step in found.floats] == ["operator 'Det' has no integer form here"]
