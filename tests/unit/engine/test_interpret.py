"""What the interpreter notes, folds, frees and refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from integer_graphs import grow, sample
from onnx import TensorProto, helper
from qdq_graph import Graph

from intact.engine.exact import execute, prepare
from intact.errors import ModelError
from intact.graph.program import Program

SMALL = np.ones((2, 3), np.float32)


def coded(graph: Graph, exponent: int = 0, zero_point: int = 0, shape: tuple[int, ...] = (3,)) -> str:
    return graph.dequantize(graph.input("x", ["n", *shape], TensorProto.UINT8), 2.0**exponent, zero_point)


def notes(graph: Graph, x: np.ndarray | None = None):
    return execute(prepare(graph.program()), {"x": np.full((2, 3), 9, np.uint8) if x is None else x}).notes


def test_random_exact_graphs_need_no_note():
    for seed in range(20):
        trace = execute(prepare(grow(seed).program()), {"x": sample(seed)})
        assert trace.notes.departures == trace.notes.breaches == ()
        assert trace.outputs["y"].dtype == np.float32


def test_constants_are_evaluated_once():
    graph = Graph()
    graph.output(graph.node("MatMul", [coded(graph), graph.weight(np.ones((3, 2)), [0, 0], 1)]))
    operators = [step.node.op_type for step in prepare(graph.program()).steps]
    assert operators == ["DequantizeLinear", "MatMul", "Identity"]


def test_a_float_operator_is_noted_with_its_reason():
    graph = Graph()
    graph.output(graph.node("Softmax", [coded(graph)]))
    (note,) = notes(graph).departures
    assert "Softmax" in note and "no exact rule" in note


def test_a_free_scale_inside_is_noted_and_computed_in_float32():
    graph = Graph()
    free = graph.dequantize(graph.input("x", ["n", 3], TensorProto.UINT8), 0.3, 5)
    graph.output(graph.node("Add", [free, free]))
    trace = execute(prepare(graph.program()), {"x": np.array([[0, 5, 255]], np.uint8)})
    assert [note.split("(")[1][:6] for note in trace.notes.departures] == ["Dequan", "Add): "]
    real = (np.array([[-5, 0, 250]], np.float32) * np.float32(0.3)).astype(np.float32)
    np.testing.assert_array_equal(trace.outputs["y"], real + real)


def test_a_free_scale_at_the_very_end_is_no_departure():
    graph = Graph()
    graph.outputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    operands = [graph.input("x", ["n", 3], TensorProto.UINT8), graph.constant(np.float32(0.3))]
    graph.nodes.append(helper.make_node("DequantizeLinear", operands, ["y"]))
    assert notes(graph).departures == ()


def test_an_inner_quantizer_with_a_free_scale_is_noted():
    graph = Graph()
    graph.output(graph.quantize(coded(graph), 0.3), kind=TensorProto.UINT8)
    assert "not a power of two" in notes(graph).departures[0]


def test_scales_computed_from_the_input_are_float32():
    graph = Graph()
    x = graph.input("x", ["n", 3])
    largest = graph.node("ReduceMax", [x], keepdims=0)
    scale = graph.node("Div", [largest, graph.constant(np.float32(255))])
    codes = graph.node("QuantizeLinear", [x, scale, graph.constant(np.uint8(0))])
    graph.output(graph.node("DequantizeLinear", [codes, scale, graph.constant(np.uint8(0))]))
    trace = execute(prepare(graph.program()), {"x": np.array([[1, 2, 255]], np.float32)})
    assert trace.outputs["y"].tolist() == [[1, 2, 255]]
    assert any("computed from the input" in note for note in trace.notes.departures)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("last", "breached"), [(7, False), (8, True)])
def test_the_accumulator_bound_is_tight(sign, last, breached):
    """(518 * 127 + 7) * 255 is 2^24 - 1: the last weight decides."""
    graph = Graph()
    w = np.full((519, 1), sign * 127)
    w[-1] = last
    graph.output(graph.node("MatMul", [coded(graph, shape=(519,)), graph.weight(w, [0], 1)]))
    total = int(np.abs(w).sum()) * 255
    assert (total >= 2**24) == breached
    found = notes(graph, np.zeros((1, 519), np.uint8)).breaches
    assert bool(found) == breached
    assert not breached or str(total) in found[0]


@pytest.mark.parametrize(
    ("exponent", "zero_point", "text"),
    [
        (1, 127, "odd"),
        (0, 127, None),
        (1, 128, None),
        (17, 128, "shifts 17 places"),
        (17, 0, None),
        (16, 128, None),
        (-4, 0, None),
        (-5, 0, "more than 4 places below"),
    ],
)
def test_quantizers_that_an_engine_may_round_otherwise(exponent, zero_point, text):
    graph = Graph()
    graph.output(graph.quantize(coded(graph), 2.0**exponent, zero_point), kind=TensorProto.UINT8)
    found = notes(graph).breaches
    assert (text in found[0]) if text else not found


@pytest.mark.parametrize(("side", "exponent", "fine"), [(7, 0, True), (7, 1, False), (6, 0, False), (4, 1, True)])
def test_means_whose_quotient_may_meet_a_tie(side, exponent, fine):
    graph = Graph()
    value = graph.node("GlobalAveragePool", [coded(graph, shape=(3, side, side))])
    graph.output(graph.quantize(value, 2.0**exponent, 0), kind=TensorProto.UINT8)
    assert (notes(graph, np.zeros((1, 3, side, side), np.uint8)).breaches == ()) == fine


def test_a_quotient_at_the_output_is_noted():
    graph = Graph()
    graph.output(graph.node("ReduceMean", [coded(graph)]))
    assert "quotient" in notes(graph).breaches[0]


def test_codes_too_far_apart_to_add_are_noted():
    for exponent, fine in ((10, True), (11, False)):
        graph = Graph()
        far = graph.dequantize(graph.input("w", ["n", 3], TensorProto.UINT8), 2.0**exponent)
        total = graph.node("Add", [coded(graph), far])
        graph.output(graph.quantize(total, 2.0**5), kind=TensorProto.UINT8)
        codes = np.zeros((1, 3), np.uint8)
        found = execute(prepare(graph.program()), {"x": codes, "w": codes}).notes.breaches
        assert (found == ()) if fine else ("11 places apart" in found[0])


@pytest.mark.parametrize(("exponent", "fine"), [(-126, True), (-127, False), (103, True), (104, False)])
def test_exponents_that_float32_cannot_hold_are_noted(exponent, fine):
    graph = Graph()
    graph.output(coded(graph, exponent))
    assert (notes(graph).breaches == ()) == fine


def test_values_are_let_go_after_their_last_use():
    plan = prepare(grow(1).program())
    dropped = [name for step in plan.steps for name in step.drop]
    assert len(dropped) == len(set(dropped))
    made = {name for step in plan.steps for name in step.node.output} | {"x"}
    assert made - set(dropped) == set(plan.outputs)


def test_tolerant_graphs_equal_the_standards_own_reference():
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 8], TensorProto.UINT8), 0.07, 120)
    value = graph.node(
        "MatMul",
        [
            value,
            graph.node("DequantizeLinear", [graph.constant(np.eye(8, dtype=np.int8)), graph.constant(np.float32(0.3))]),
        ],
    )
    scale = graph.constant(np.linspace(0.5, 1.5, 8).astype(np.float32))
    value = graph.node("LayerNormalization", [value, scale])
    graph.output(graph.node("Gelu", [graph.node("Softmax", [value])]))
    x = np.random.default_rng(0).integers(0, 256, (3, 8)).astype(np.uint8)
    found = execute(prepare(graph.program()), {"x": x}).outputs["y"]
    (wanted,) = onnx.reference.ReferenceEvaluator(graph.model()).run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_gather_elements_beyond_64_entries():
    data = np.arange(300, dtype=np.float32).reshape(3, 100)
    index = np.array([[99, 0, -1], [5, 5, 5]], np.int64)
    graph = Graph()
    graph.output(graph.node("GatherElements", [graph.input("x", [3, 100]), graph.constant(index)], axis=1))
    found = execute(prepare(graph.program()), {"x": data}).outputs["y"]
    np.testing.assert_array_equal(found, np.take_along_axis(data[:2], index % 100, 1))


def model_of(node: onnx.NodeProto, **extra: object) -> Program:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([node], "graph", [x], [y])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("strange", 1)]
    return Program.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=10, **extra))


def test_operators_outside_the_standard_are_refused():
    with pytest.raises(ModelError, match="ai.onnx::Twist is unknown"):
        prepare(model_of(helper.make_node("Twist", ["x"], ["y"])))


def test_control_flow_is_refused():
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])])
    with pytest.raises(ModelError, match="graph of its own"):
        prepare(model_of(helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)))


def test_local_functions_are_refused():
    inner = helper.make_node("Relu", ["a"], ["b"])
    function = helper.make_function("strange", "Twist", ["a"], ["b"], [inner], [helper.make_opsetid("", 21)])
    with pytest.raises(ModelError, match="local functions"):
        prepare(model_of(helper.make_node("Twist", ["x"], ["y"], domain="strange"), functions=[function]))


def test_operands_that_do_not_fit_are_refused_with_the_nodes_name():
    graph = Graph()
    graph.output(graph.node("Conv", [coded(graph, shape=(3, 4, 4)), graph.weight(np.ones((2, 3, 1, 1)), [0, 0])]))
    with pytest.raises(ModelError, match=r"node_.* \(Conv\) cannot be applied"):
        execute(prepare(graph.program()), {"x": np.zeros((1, 2, 4, 4), np.uint8)})
    graph = Graph()
    graph.output(
        graph.node("Exp", [graph.node("Reshape", [graph.input("x", ["n", 3]), graph.constant(np.array([7]))])])
    )
    with pytest.raises(ModelError, match=r"Reshape cannot be applied to float32\[2, 3\]"):
        execute(prepare(graph.program()), {"x": SMALL})
