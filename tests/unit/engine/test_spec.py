"""Inputs that do not fit are refused with a message that says what was wanted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from intact.engine.spec import TensorSpec, check_inputs, graph_of, specs_of
from intact.errors import DataError, ModelError
from intact.graph.program import Program

SPECS = (
    TensorSpec(name="a", dtype="float32", shape=("n", 3, None)),
    TensorSpec(name="b", dtype="int64", shape=("n", "t")),
)
A, B = np.zeros((2, 3, 4), np.float32), np.zeros((2, 5), np.int64)


def test_inputs_that_fit_come_back_in_order_and_contiguous():
    found = check_inputs(SPECS, {"b": B, "a": np.asfortranarray(A)})
    assert list(found) == ["a", "b"]
    assert found["a"].flags.c_contiguous


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"a": A}, r"inputs are \['a'\], the model wants a: float32\[n, 3, \?\], b: int64\[n, t\]"),
        ({"a": A, "b": B, "c": B}, r"inputs are \['a', 'b', 'c'\]"),
        ({"a": A.astype(np.float64), "b": B}, "input 'a' has type float64, wanted float32"),
        ({"a": A.tolist(), "b": B}, "input 'a' is a list, wanted a numpy array"),
        ({"a": A[:, :2], "b": B}, r"input 'a' has shape \[2, 2, 4\], wanted a: float32\[n, 3, \?\]"),
        ({"a": A[0], "b": B}, r"input 'a' has shape \[3, 4\]"),
        ({"a": A, "b": B[:1]}, r"input 'b' has shape \[1, 5\]"),
        ({"a": A[:0], "b": B[:0]}, "input 'a' is empty"),
        ({"a": A + np.nan, "b": B}, "input 'a' has a NaN or an infinity"),
        ({"a": A - np.inf, "b": B}, "input 'a' has a NaN or an infinity"),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    with pytest.raises(DataError, match=text):
        check_inputs(SPECS, inputs)


def test_an_unknown_shape_takes_everything():
    spec = TensorSpec(name="a", dtype="float32", shape=None)
    assert str(spec) == "a: float32[...]"
    assert check_inputs((spec,), {"a": A})["a"].shape == A.shape


def test_specs_leave_out_inputs_that_are_initializers():
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None, 3]) for name in ("x", "w")]
    weight = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "w")
    inputs, outputs = specs_of(helper.make_graph([], "graph", values, values[:1], [weight]))
    assert inputs == outputs == (TensorSpec(name="x", dtype="float32", shape=("n", None, 3)),)


def test_values_that_are_no_tensors_are_refused():
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    untyped = helper.make_tensor_value_info("x", TensorProto.UNDEFINED, None)
    with pytest.raises(ModelError, match="no tensor"):
        specs_of(helper.make_graph([], "graph", [sequence], []))
    with pytest.raises(ModelError, match="no element type"):
        specs_of(helper.make_graph([], "graph", [untyped], []))


def program(weight: np.ndarray) -> Program:
    initializer = onnx.numpy_helper.from_array(weight, "w")
    return Program.from_proto(helper.make_model(helper.make_graph([], "graph", [], [], [initializer])))


def test_a_tensor_missing_or_of_another_form_is_refused():
    whole = program(np.zeros((10, 20), np.float32))
    assert graph_of(whole).graph.initializer[0].name == "w"
    with pytest.raises(ModelError, match="'w' has no tensor beside the graph"):
        graph_of(Program(model=whole.model, tensors={}))
    for other in (np.zeros((20, 10), np.float32), np.zeros((10, 20), np.int32)):
        with pytest.raises(ModelError, match=r"the tensor beside initializer 'w' is .*, wanted float32\[10, 20\]"):
            graph_of(Program(model=whole.model, tensors={"w": other}))


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(ModelError, match="no ONNX model"):
        graph_of(Program(model=b"\xff\xfe not a model", tensors={}))
