"""The reference engine against plain Python loops over fractions, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import integer_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.exact import execute, prepare

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def run(graph: Graph, **inputs: np.ndarray) -> np.ndarray:
    trace = execute(prepare(graph.program()), inputs)
    assert trace.notes.departures == ()
    return trace.outputs["y"]


def codes(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.integers(0, 256, shape).astype(np.uint8)


@given(
    seed=seeds,
    zero_in=st.integers(0, 255),
    zero_out=st.sampled_from([0, 128, 90]),
    shift=st.integers(-2, 20),
    groups=st.sampled_from([1, 2, 4]),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    with_bias=st.booleans(),
)
@few
def test_convolution_and_its_rounding(
    seed, zero_in, zero_out, shift, groups, taps, strides, dilations, pads, with_bias
):
    random = np.random.default_rng(seed)
    x, w = codes(random, 2, 4, 6, 5), random.integers(-127, 128, (4, 4 // groups, *taps))
    exponents, bias = random.integers(-9, -4, 4), random.integers(-5000, 5000, 4)
    graph = Graph()
    operands = [
        graph.dequantize(graph.input("x", ["n", 4, 6, 5], TensorProto.UINT8), 2.0**-3, zero_in),
        graph.weight(w, exponents),
    ]
    if with_bias:
        operands.append(graph.bias(bias, exponents - 3))
    layout = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    value = graph.node("Conv", operands, **layout)
    graph.output(graph.quantize(value, 2.0 ** (shift - 9), zero_out), kind=TensorProto.UINT8)

    wanted = oracle.conv(
        oracle.exact(x, -3, zero_in),
        oracle.exact(w, exponents),
        oracle.exact(bias, exponents - 3) if with_bias else None,
        strides,
        pads,
        dilations,
        groups,
    )
    np.testing.assert_array_equal(run(graph, x=x), oracle.quantize(wanted, shift - 9, zero_out))


def test_convolution_in_one_and_three_dimensions():
    random = np.random.default_rng(0)
    for rank in (1, 3):
        sides, taps = (5,) * rank, (2,) * rank
        x, w = codes(random, 2, 3, *sides), random.integers(-127, 128, (2, 3, *taps))
        graph = Graph()
        value = graph.dequantize(graph.input("x", ["n", 3, *sides], TensorProto.UINT8), 1.0, 100)
        graph.output(graph.node("Conv", [value, graph.weight(w, [-2, -3])]))
        wanted = oracle.conv(
            oracle.exact(x, 0, 100), oracle.exact(w, [-2, -3]), None, (1,) * rank, (0,) * 2 * rank, (1,) * rank, 1
        )
        np.testing.assert_array_equal(run(graph, x=x), oracle.as_float32(wanted))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode):
    random = np.random.default_rng(1)
    x, w = codes(random, 1, 2, 6, 6), random.integers(-127, 128, (2, 2, 2, 2))
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 2, 6, 6], TensorProto.UINT8), 1.0)
    graph.output(graph.node("Conv", [value, graph.weight(w, [0, 0])], auto_pad=mode))
    pads = {"SAME_UPPER": (0, 0, 1, 1), "SAME_LOWER": (1, 1, 0, 0), "VALID": (0, 0, 0, 0)}[mode]
    wanted = oracle.conv(oracle.exact(x, 0), oracle.exact(w, 0), None, (1, 1), pads, (1, 1), 1)
    np.testing.assert_array_equal(run(graph, x=x), oracle.as_float32(wanted))


@given(
    seed=seeds,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padded=st.booleans(),
    ceil_mode=st.booleans(),
    include_padding=st.booleans(),
    op=st.sampled_from(["MaxPool", "AveragePool"]),
    shift=st.integers(-1, 2),
)
@few
def test_pooling(seed, kernel, strides, padded, ceil_mode, include_padding, op, shift):
    x = codes(np.random.default_rng(seed), 2, 3, 6, 7)
    pads = tuple(k // 2 for k in kernel) * 2 if padded else (0, 0, 0, 0)
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": int(ceil_mode)}
    if op == "AveragePool":
        attributes["count_include_pad"] = int(include_padding)
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 3, 6, 7], TensorProto.UINT8), 0.5, 90)
    value = graph.node(op, [value], **attributes)
    graph.output(graph.quantize(value, 2.0 ** (shift - 1), 128), kind=TensorProto.UINT8)
    wanted = oracle.pool(
        oracle.exact(x, -1, 90),
        kernel,
        strides,
        pads,
        ceil_mode=ceil_mode,
        include_padding=include_padding and op == "AveragePool",
        reduce="max" if op == "MaxPool" else "mean",
    )
    np.testing.assert_array_equal(run(graph, x=x), oracle.quantize(wanted, shift - 1, 128))


def test_pooling_of_codes_keeps_their_type():
    x = codes(np.random.default_rng(0), 1, 2, 4, 4)
    graph = Graph()
    name = graph.input("x", ["n", 2, 4, 4], TensorProto.UINT8)
    graph.output(graph.node("MaxPool", [name], kernel_shape=[2, 2]), kind=TensorProto.UINT8)
    found = run(graph, x=x)
    assert found.dtype == np.uint8
    assert found[0, 0, 0, 0] == x[0, 0, :2, :2].max()


@given(seed=seeds, op=st.sampled_from(["GlobalAveragePool", "ReduceMean", "ReduceSum", "GlobalMaxPool"]))
@few
def test_reductions(seed, op):
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 6, 2)
    x = codes(random, 2, 3, height, width)
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 3, int(height), int(width)], TensorProto.UINT8), 0.25, 30)
    operands = [value, graph.constant(np.array([-2, -1], np.int64))] if op.startswith("Reduce") else [value]
    value = graph.node(op, operands)
    graph.output(graph.quantize(value, 0.25, 128), kind=TensorProto.UINT8)
    real = oracle.exact(x, -2, 30).reshape(2, 3, -1)
    wanted = np.empty((2, 3, 1, 1), dtype=object)
    for n, c in np.ndindex(2, 3):
        total = sum(real[n, c], Fraction(0))
        mean = total / len(real[n, c])
        wanted[n, c] = {"ReduceSum": total, "GlobalMaxPool": max(real[n, c])}.get(op, mean)
    np.testing.assert_array_equal(run(graph, x=x), oracle.quantize(wanted, -2, 128))


@given(
    seed=seeds,
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    with_bias=st.booleans(),
    op=st.sampled_from(["Gemm", "MatMul"]),
)
@few
def test_matrix_products_with_a_float_result(seed, transpose_a, transpose_b, with_bias, op):
    random = np.random.default_rng(seed)
    transpose_a, transpose_b = transpose_a and op == "Gemm", transpose_b and op == "Gemm"
    rows, depth, columns = (int(n) for n in random.integers(1, 9, 3))
    x = codes(random, *((depth, rows) if transpose_a else (rows, depth)))
    w = random.integers(-127, 128, (columns, depth) if transpose_b else (depth, columns))
    exponents, bias = random.integers(-9, -4, columns), random.integers(-5000, 5000, columns)
    axis = 0 if transpose_b else 1
    graph = Graph()
    value = graph.dequantize(graph.input("x", list(x.shape), TensorProto.UINT8), 2.0**-4, 77)
    weight = graph.weight(w, exponents, axis)
    if op == "Gemm":
        operands = [value, weight, *([graph.bias(bias, exponents - 4)] if with_bias else [])]
        value = graph.node("Gemm", operands, transA=int(transpose_a), transB=int(transpose_b))
    else:
        value = graph.node("MatMul", [value, weight])
        if with_bias:
            value = graph.node("Add", [value, graph.bias(bias, exponents - 4)])
    graph.output(value)
    a, b = oracle.exact(x, -4, 77), oracle.exact(w, exponents, axis=axis)
    wanted = oracle.matmul(a.T if transpose_a else a, b.T if transpose_b else b)
    if with_bias:
        wanted = wanted + oracle.exact(bias, exponents - 4)
    np.testing.assert_array_equal(run(graph, x=x), oracle.as_float32(wanted))


@given(seed=seeds, first=st.integers(-8, 3), second=st.integers(-8, 3), out=st.integers(-6, 4), relu=st.booleans())
@few
def test_residual_addition_across_scales(seed, first, second, out, relu):
    random = np.random.default_rng(seed)
    a, b = codes(random, 2, 40), codes(random, 2, 40)
    graph = Graph()
    left = graph.dequantize(graph.input("a", ["n", 40], TensorProto.UINT8), 2.0**first, 128)
    right = graph.dequantize(graph.input("b", ["n", 40], TensorProto.UINT8), 2.0**second, 3)
    value = graph.node("Add", [left, right])
    value = graph.node("Relu", [value]) if relu else value
    graph.output(graph.quantize(value, 2.0**out, 0 if relu else 128), kind=TensorProto.UINT8)
    total = oracle.exact(a, first, 128) + oracle.exact(b, second, 3)
    wanted = np.maximum(total, Fraction(0)) if relu else total
    np.testing.assert_array_equal(run(graph, a=a, b=b), oracle.quantize(wanted, out, 0 if relu else 128))


def test_concatenation_slicing_and_moving_across_scales():
    random = np.random.default_rng(3)
    a, b = codes(random, 2, 3, 4), codes(random, 2, 2, 4)
    graph = Graph()
    left = graph.dequantize(graph.input("a", ["n", 3, 4], TensorProto.UINT8), 2.0**-5, 128)
    right = graph.dequantize(graph.input("b", ["n", 2, 4], TensorProto.UINT8), 2.0**2, 0)
    value = graph.node("Concat", [left, right], axis=1)
    value = graph.node("Transpose", [value], perm=[0, 2, 1])
    starts, ends, axes = (graph.constant(np.array([n], np.int64)) for n in (1, 4, 1))
    value = graph.node("Slice", [value, starts, ends, axes])
    value = graph.node("Reshape", [value, graph.constant(np.array([-1, 15], np.int64))])
    pads, fill = graph.constant(np.array([0, 1, 0, 0], np.int64)), graph.constant(np.float32(1.5))
    value = graph.node("Pad", [value, pads, fill])
    low, high = graph.constant(np.float32(-2.25)), graph.constant(np.float32(500))
    graph.output(graph.node("Clip", [value, low, high]))
    joined = np.concatenate([oracle.exact(a, -5, 128), oracle.exact(b, 2, 0)], axis=1)
    moved = joined.transpose(0, 2, 1)[:, 1:4].reshape(-1, 15)
    wanted = np.concatenate([np.full((2, 1), Fraction(3, 2)), moved], axis=1)
    wanted = np.minimum(np.maximum(wanted, Fraction(-9, 4)), Fraction(500))
    np.testing.assert_array_equal(run(graph, a=a, b=b), oracle.as_float32(wanted))


def test_products_differences_and_splits():
    random = np.random.default_rng(4)
    a, b = codes(random, 2, 6), codes(random, 2, 3)
    graph = Graph()
    left = graph.dequantize(graph.input("a", ["n", 6], TensorProto.UINT8), 2.0**-5, 128)
    right = graph.dequantize(graph.input("b", ["n", 3], TensorProto.UINT8), 2.0**-2, 9)
    head, tail = graph.node("Split", [left], outputs=2, axis=1, num_outputs=2)
    graph.output(graph.node("Sub", [graph.node("Mul", [head, right]), tail]))
    x, y = oracle.exact(a, -5, 128), oracle.exact(b, -2, 9)
    np.testing.assert_array_equal(run(graph, a=a, b=b), oracle.as_float32(x[:, :3] * y - x[:, 3:]))


def test_a_table_of_codes_serves_any_unary_function():
    table = np.random.default_rng(5).integers(0, 256, 256).astype(np.uint8)
    graph = Graph()
    index = graph.node("Cast", [graph.input("x", ["n", 256], TensorProto.UINT8)], to=TensorProto.INT32)
    looked_up = graph.node("Gather", [graph.constant(table), index])
    graph.output(graph.dequantize(looked_up, 0.5, 7))
    x = np.arange(256, dtype=np.uint8).reshape(1, 256)
    np.testing.assert_array_equal(run(graph, x=x), (table.astype(np.float32) - 7)[None] / 2)


@given(seed=seeds, zero_point=st.integers(0, 255))
@few
def test_the_input_quantizer_is_a_float32_division_rounded_half_to_even(seed, zero_point):
    random = np.random.default_rng(seed)
    scale = np.float32(random.uniform(0.001, 2))
    ties = ((random.integers(-300, 300, 200) + 0.5) * scale).astype(np.float32)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(9e9)), random.normal(size=50) * 1e3]).astype(np.float32)
    graph = Graph()
    name = graph.input("x", [len(x)])
    graph.output(graph.quantize(name, float(scale), zero_point), kind=TensorProto.UINT8)
    wanted = [min(max(round(Fraction(float(np.float32(v / scale)))) + zero_point, 0), 255) for v in x]
    np.testing.assert_array_equal(run(graph, x=x), np.array(wanted, np.uint8))


def test_huge_inputs_saturate():
    graph = Graph()
    graph.output(graph.quantize(graph.input("x", [3]), 1e-6, 128), kind=TensorProto.UINT8)
    x = np.array([3.4e38, -3.4e38, 0], np.float32)
    assert run(graph, x=x).tolist() == [255, 0, 128]
