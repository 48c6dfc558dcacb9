"""Tensors on the wire: what goes in comes out, and nothing that is not a tensor of its datatype goes in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from intact.serve.protocol import tensors
from intact.serve.refused import Refused

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)
NUMBERS = sorted(set(tensors.DATATYPES) - {"BOOL", "BF16"})


@given(data=st.data(), datatype=st.sampled_from([*NUMBERS, "BOOL"]))
def test_a_tensor_goes_to_bytes_and_back(data: st.DataObject, datatype: str) -> None:
    value = data.draw(arrays.arrays(tensors.DATATYPES[datatype], SHAPES))
    back = tensors.from_bytes("x", datatype, list(value.shape), tensors.to_bytes(value))
    np.testing.assert_array_equal(back, value)
    assert back.dtype == value.dtype
    assert tensors.datatype_of(back.dtype) == datatype


@given(data=st.data(), datatype=st.sampled_from([*NUMBERS, "BOOL"]), nested=st.booleans())
def test_a_tensor_goes_to_values_and_back(data: st.DataObject, datatype: str, nested: bool) -> None:
    finite = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None
    value = data.draw(arrays.arrays(tensors.DATATYPES[datatype], SHAPES, elements=finite))
    values = value.tolist() if nested else value.ravel().tolist()
    back = tensors.from_values("x", datatype, list(value.shape), values)
    np.testing.assert_array_equal(back, value)
    assert back.dtype == value.dtype


def test_bfloat16_goes_both_ways() -> None:
    value = np.array([1.5, -2.0, 0.0], tensors.DATATYPES["BF16"])
    np.testing.assert_array_equal(tensors.from_bytes("x", "BF16", [3], tensors.to_bytes(value)), value)
    np.testing.assert_array_equal(tensors.from_values("x", "BF16", [3], [1.5, -2.0, 0]), value)


@given(
    datatype=st.sampled_from(sorted(tensors.DATATYPES)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    change=st.integers(-16, 16).filter(bool),
)
def test_bytes_of_another_length_are_refused(datatype: str, shape: list[int], change: int) -> None:
    length = max(0, math.prod(shape) * tensors.DATATYPES[datatype].itemsize + change)
    if length == math.prod(shape) * tensors.DATATYPES[datatype].itemsize:
        return
    with pytest.raises(Refused, match="bytes, but its shape"):
        tensors.from_bytes("x", datatype, shape, bytes(length))


@pytest.mark.parametrize(
    "shape",
    [[0], [-1], [True], [1.0], ["1"], [None], [2**28 + 1], [2**63], [2**20, 2**20], [1] * 9, [2**14] * 8, [[1]]],
)
def test_shapes_that_are_none_are_refused_before_anything_is_reserved(shape: list[Any]) -> None:
    with pytest.raises(Refused):
        tensors.from_bytes("x", "FP32", shape, b"")
    with pytest.raises(Refused):
        tensors.from_values("x", "FP32", shape, [])


@pytest.mark.parametrize("datatype", ["BYTES", "fp32", "FP8", "", "float32", None, 3, ["FP32"]])
def test_other_datatypes_are_refused(datatype: Any) -> None:
    with pytest.raises(Refused, match="datatype"):
        tensors.from_bytes("x", datatype, [1], b"\0\0\0\0")


@pytest.mark.parametrize("byte", [2, 255])
def test_a_truth_value_is_zero_or_one(byte: int) -> None:
    with pytest.raises(Refused, match="BOOL"):
        tensors.from_bytes("x", "BOOL", [2], bytes([1, byte]))


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("FP32", ["1"]),
        ("FP32", [None]),
        ("FP32", [True]),
        ("FP32", [{}]),
        ("FP32", [10**400]),
        ("INT32", [1.0]),
        ("INT32", [True]),
        ("INT8", [128]),
        ("INT8", [-129]),
        ("UINT8", [-1]),
        ("UINT64", [2**64]),
        ("INT64", [2**63]),
        ("BOOL", [1]),
        ("BOOL", ["true"]),
        ("FP32", "1"),
        ("FP32", 1),
        ("FP32", None),
        ("FP32", {"0": 1}),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused(datatype: str, values: Any) -> None:
    with pytest.raises(Refused):
        tensors.from_values("x", datatype, [1], values)


@pytest.mark.parametrize("values", [[[1, 2], [3]], [[1, 2], 3], [1, [2]], [[1], [2], [[3]]], [[[[[[[[[1, 2]]]]]]]]]])
def test_ragged_or_deep_lists_are_refused(values: list[Any]) -> None:
    with pytest.raises(Refused):
        tensors.from_values("x", "FP32", [3], values)


def test_one_long_text_among_many_numbers_reserves_nothing() -> None:
    with pytest.raises(Refused, match="not all values"):
        tensors.from_values("x", "FP32", [100_001], [0.0] * 100_000 + ["x" * 10_000_000])


def test_lists_that_nest_in_another_shape_are_refused() -> None:
    with pytest.raises(Refused, match="nest as"):
        tensors.from_values("x", "FP32", [3, 2], [[1, 2, 3], [4, 5, 6]])
