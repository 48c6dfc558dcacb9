"""The same integers in another spelling."""

from __future__ import annotations

import numpy as np
import onnx
from integer_graphs import grow, sample
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.exact import execute, prepare
from intact.engine.surgery import own_zero_points, peel_inputs, spell_out_rounding
from intact.graph.program import Program


def run(program: Program, **inputs: np.ndarray) -> np.ndarray:
    return execute(prepare(program), inputs).outputs["y"]


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_peeled_inputs_take_the_codes_that_the_graph_would_compute():
    for seed in range(5):
        model, x = grow(seed).model(), sample(seed)
        wanted = run(Program.from_proto(model), x=x)
        (quantizer,) = peel_inputs(model).values()
        onnx.checker.check_model(model)
        assert [value.name for value in model.graph.input] == [quantizer.codes]
        found = run(Program.from_proto(model), **{quantizer.codes: quantizer.apply(x)})
        np.testing.assert_array_equal(found, wanted)


def test_inputs_that_are_read_elsewhere_or_not_quantized_stay():
    graph = Graph()
    x = graph.input("x", ["n", 3])
    graph.output(graph.quantize(x, 0.5), kind=TensorProto.UINT8)
    graph.output(x, "z")
    graph.output(graph.node("Neg", [graph.input("w", ["n", 3])]), "v")
    model = graph.model()
    assert peel_inputs(model) == {}
    assert model == graph.model()


def residual(last: str = "Add") -> Graph:
    """A rounding between a convolution and an addition, and one after it."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.dequantize(graph.input("x", ["n", 4, 6, 6], TensorProto.UINT8), 2.0**-4)
    w = random.integers(-127, 128, (4, 4, 3, 3))
    value = graph.node("Conv", [x, graph.weight(w, [-8] * 4)], pads=[1] * 4)
    value = graph.requantize(value, -3, 128)
    value = graph.node(last, [value, x]) if last == "Add" else graph.node(last, [value])
    graph.output(graph.quantize(value, 2.0**-2), kind=TensorProto.UINT8)
    return graph


def test_roundings_before_elementwise_operators_are_spelled_out():
    x = np.random.default_rng(1).integers(0, 256, (3, 4, 6, 6)).astype(np.uint8)
    for last in ("Add", "Relu"):
        model = residual(last).model()
        wanted = run(Program.from_proto(model), x=x)
        assert spell_out_rounding(model) == 1
        onnx.checker.check_model(model)
        assert operators(model).count("Round") == 1 and operators(model).count("QuantizeLinear") == 1
        found = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
        np.testing.assert_array_equal(found, wanted)


def test_roundings_before_other_operators_stay():
    graph = Graph()
    value = graph.requantize(graph.input("x", ["n", 4]), 0)
    graph.output(graph.node("MatMul", [value, graph.weight(np.eye(4), [0] * 4, 1)]))
    model = graph.model()
    assert spell_out_rounding(model) == 0
    assert model == graph.model()


def test_free_scales_and_codes_that_are_outputs_stay():
    graph = Graph()
    x = graph.input("x", ["n", 4])
    graph.output(graph.node("Relu", [graph.dequantize(graph.quantize(x, 0.3), 0.3)]))
    model = graph.model()
    assert spell_out_rounding(model) == 0
    graph = Graph()
    codes = graph.quantize(graph.input("x", ["n", 4]), 0.5)
    graph.output(graph.node("Relu", [graph.dequantize(codes, 0.5)]))
    graph.outputs.append(onnx.helper.make_tensor_value_info(codes, TensorProto.UINT8, None))
    assert spell_out_rounding(graph.model()) == 0


def test_every_weight_gets_a_zero_point_of_its_own():
    graph = Graph()
    x = graph.dequantize(graph.input("x", ["n", 16], TensorProto.UINT8), 1.0)
    codes = graph.constant(np.random.default_rng(0).integers(-127, 128, (16, 16)).astype(np.int8))  # large: kept beside
    zeros = graph.constant(np.zeros(16, np.int8))
    for exponent, rest in ((-3, [zeros]), (-4, [zeros]), (-5, [])):
        scale = graph.constant(np.full(16, 2.0**exponent, np.float32))
        x = graph.node("MatMul", [x, graph.node("DequantizeLinear", [codes, scale, *rest], axis=1)])
        x = graph.requantize(x, 4, 128)
    graph.output(x)
    program = graph.program()
    own = own_zero_points(program)
    proto = onnx.load_from_string(own.model)
    int8 = {i.name for i in proto.graph.initializer if i.data_type == TensorProto.INT8}
    read = [name for node in proto.graph.node for name in node.input if name in int8]
    assert len(read) == len(set(read)) == 6
    assert len({id(tensor) for tensor in own.tensors.values() if tensor.dtype == np.int8}) == 1  # nothing is copied
    inputs = np.random.default_rng(1).integers(0, 256, (2, 16)).astype(np.uint8)
    np.testing.assert_array_equal(run(own, x=inputs), run(program, x=inputs))
