"""The REST form: requests are read as the specification says, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from intact.serve.protocol import rest, tensors
from intact.serve.protocol.request import InferRequest, InferResponse
from intact.serve.refused import Refused

INPUT = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
BINARY = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
DATA = np.float32([1, 2]).tobytes()


def body(**fields: Any) -> bytes:
    return json.dumps({"inputs": [INPUT], **fields}).encode()


def mixed(*inputs: Any, data: bytes = DATA, **fields: Any) -> tuple[bytes, int]:
    head = json.dumps({"inputs": list(inputs or [BINARY]), **fields}).encode()
    return head + data, len(head)


def test_json_is_read() -> None:
    request = rest.parse(body(id="7", outputs=[{"name": "y"}]), None)
    np.testing.assert_array_equal(request.feeds["x"], np.float32([[1, 2]]))
    assert (request.id, [each.name for each in request.wanted], request.binary) == ("7", ["y"], False)


def test_binary_data_are_read() -> None:
    request = rest.parse(*mixed(parameters={"binary_data_output": True}))
    np.testing.assert_array_equal(request.feeds["x"], np.float32([[1, 2]]))
    assert request.binary


def test_binary_and_json_inputs_mix() -> None:
    other = {**BINARY, "name": "z", "datatype": "UINT8", "parameters": {"binary_data_size": 2}}
    request = rest.parse(*mixed(BINARY, {**INPUT, "name": "y"}, other, data=DATA + b"\1\2"))
    assert list(request.feeds) == ["x", "y", "z"]
    np.testing.assert_array_equal(request.feeds["z"], [[1, 2]])


@given(
    values=arrays.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=st.floats(-9, 9)),
    binary=st.booleans(),
    text=st.text(max_size=9),
)
def test_a_response_is_read_back(values: np.ndarray, binary: bool, text: str) -> None:
    request = InferRequest(text, {}, (), binary)
    found = rest.format(InferResponse("m", "3", text, {"y": values}), request)
    head = json.loads(found.data[: found.header_length])
    assert (head["model_name"], head["model_version"], head.get("id", "")) == ("m", "3", text)
    (output,) = head["outputs"]
    if binary:
        assert found.header_length is not None
        raw = found.data[found.header_length :]
        assert output["parameters"] == {"binary_data_size": len(raw)}
        back = tensors.from_bytes("y", output["datatype"], output["shape"], raw)
    else:
        assert found.header_length is None
        back = tensors.from_values("y", output["datatype"], output["shape"], output["data"])
    np.testing.assert_array_equal(back, values)


def test_an_output_that_json_cannot_write_is_refused() -> None:
    response = InferResponse("m", "1", "", {"y": np.float32([np.nan])})
    with pytest.raises(Refused, match="finite"):
        rest.format(response, InferRequest("", {}, (), False))


@pytest.mark.parametrize("how", ["json", "binary", "mixed"])
def test_where_the_data_begin_is_found_without_the_header(how: str) -> None:
    found, length = {
        "json": (body(), None),
        "binary": mixed(data=b'  {"'[:4] * 2),
        "mixed": mixed(INPUT, {**BINARY, "name": "y"}),
    }[how]
    assert rest.header_length_of(found) == length


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"nul",
        b"\xff",
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,Infinity]}]}',
        b'{"inputs":[],"inputs":[]}',
        b"[" * 100_000,
        b'{"inputs":' + b"[" * 5000 + b"]" * 5000 + b"}",
        body(inputs=[]),
        body(inputs={}),
        body(inputs=[1]),
        body(inputs=[INPUT] * 65),
        body(inputs=[INPUT, INPUT]),
        body(inputs=[{**INPUT, "name": ""}]),
        body(inputs=[{**INPUT, "name": "x" * 257}]),
        body(inputs=[{**INPUT, "name": 3}]),
        body(inputs=[{**INPUT, "shape": None}]),
        body(inputs=[{**INPUT, "data": None}]),
        body(inputs=[BINARY]),
        body(inputs=[{**INPUT, "parameters": []}]),
        body(inputs=[{**INPUT, "parameters": {"shared_memory_region": "r"}}]),
        body(outputs=[{"name": "y", "parameters": {"classification": 3}}]),
        body(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
        body(outputs=[{}]),
        body(outputs=3),
        body(parameters={"sequence_id": 3}),
        body(parameters={"binary_data_output": "yes"}),
        body(id=3),
        body(id="x" * 257),
        json.dumps(INPUT).encode(),
        b'{"inputs":[' + b"1," * 2_200_000 + b"1]}",
    ],
    ids=range(32),
)
def test_what_is_no_request_is_refused(bad: bytes) -> None:
    with pytest.raises(Refused):
        rest.parse(bad, None)


@pytest.mark.parametrize(
    ("inputs", "data"),
    [
        (BINARY, DATA[:-1]),
        (BINARY, DATA + b"\0"),
        (BINARY, b""),
        ({**BINARY, "parameters": {"binary_data_size": 9}}, DATA + b"\0"),
        ({**BINARY, "parameters": {"binary_data_size": -8}}, DATA),
        ({**BINARY, "parameters": {"binary_data_size": 8.0}}, DATA),
        ({**BINARY, "parameters": {"binary_data_size": True}}, DATA[:1]),
        ({**BINARY, "parameters": {"binary_data_size": 2**70}}, DATA),
        ({**BINARY, "data": [1, 2]}, DATA),
        ({**BINARY, "shape": [2, 2]}, DATA),
        (INPUT, DATA),
    ],
    ids=range(11),
)
def test_binary_data_of_a_wrong_length_are_refused(inputs: Any, data: bytes) -> None:
    with pytest.raises(Refused):
        rest.parse(*mixed(inputs, data=data))


@pytest.mark.parametrize("length", [0, 10**6])
def test_a_header_length_beyond_the_body_is_refused(length: int) -> None:
    with pytest.raises(Refused):
        rest.parse(mixed()[0], length)


@given(data=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_any_bytes_are_a_request_or_refused(data: bytes, length: int | None) -> None:
    with pytest.raises(Refused):
        rest.parse(data, length)


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_a_request_or_is_refused(place: int, bit: int) -> None:
    found, length = mixed()
    changed = bytearray(found)
    changed[place % len(found)] ^= 1 << bit
    try:
        rest.parse(bytes(changed), length)
    except Refused as refused:
        assert refused.status == 400
