"""The gRPC form: the messages are those of the specification, and what is none is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.serve.protocol import grpc_messages as messages
from intact.serve.protocol.request import InferResponse
from intact.serve.refused import Refused

FOLDER = Path(messages.__file__).parent
Request = messages.MESSAGES["ModelInferRequest"]


def asked(**more: Any) -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
    fields: dict[str, Any] = {"model_name": "m", "inputs": [tensor], "raw_input_contents": [bytes(8)], **more}
    return Request(**fields)


def parse(message: Any) -> Any:
    return messages.parse(messages.decode("ModelInferRequest", message.SerializeToString()))


def test_the_committed_messages_are_compiled_from_the_source(tmp_path: Path) -> None:
    out = tmp_path / "out.binpb"
    words = [f"-I{FOLDER}", f"--descriptor_set_out={out}", "open_inference.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *words], check=True, timeout=60)
    assert out.read_bytes() == (FOLDER / "open_inference.binpb").read_bytes()


@pytest.mark.filterwarnings("ignore")  # of tritonclient's own
@pytest.mark.parametrize("name", sorted(messages.MESSAGES))
def test_messages_have_the_field_numbers_and_types_of_tritonclient(name: str) -> None:
    from tritonclient.grpc import service_pb2

    def fields(descriptor: Any) -> set[tuple[Any, ...]]:
        own = {(field.name, field.number, field.type, field.is_repeated) for field in descriptor.fields}
        nested = {(each.name, *sorted(fields(each))) for each in descriptor.nested_types}
        return own | nested

    assert fields(messages.MESSAGES[name].DESCRIPTOR) <= fields(getattr(service_pb2, name).DESCRIPTOR)


def test_raw_inputs_are_read() -> None:
    request = parse(asked(id="7", raw_input_contents=[np.float32([1, 2]).tobytes()], outputs=[{"name": "y"}]))
    np.testing.assert_array_equal(request.feeds["x"], np.float32([[1, 2]]))
    assert (request.id, [each.name for each in request.wanted]) == ("7", ["y"])


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [1.5, 2.0]),
        ("FP64", "fp64_contents", [1.5, 2.0]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("BOOL", "bool_contents", [True, False]),
    ],
)
def test_typed_inputs_are_read(datatype: str, field: str, values: list[Any]) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [2], "contents": {field: values}}
    request = parse(Request(model_name="m", inputs=[tensor]))
    np.testing.assert_array_equal(request.feeds["x"], values)


def test_a_response_is_read_back() -> None:
    values = np.float32([[1, 2, 3]])
    data = messages.format(InferResponse("m", "3", "7", {"y": values}), parse(asked()))
    back = messages.MESSAGES["ModelInferResponse"].FromString(data)
    assert (back.model_name, back.model_version, back.id) == ("m", "3", "7")
    assert (back.outputs[0].name, back.outputs[0].datatype, list(back.outputs[0].shape)) == ("y", "FP32", [1, 3])
    assert back.raw_output_contents[0] == values.tobytes()


BAD = [
    asked(raw_input_contents=[b""]),
    asked(raw_input_contents=[bytes(7)]),
    asked(raw_input_contents=[bytes(9)]),
    asked(raw_input_contents=[bytes(8), bytes(8)]),
    asked(raw_input_contents=[]),
    asked(inputs=[]),
    asked(inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2]}] * 2, raw_input_contents=[bytes(8)] * 2),
    asked(inputs=[{"name": "", "datatype": "FP32", "shape": [1, 2]}]),
    asked(inputs=[{"name": "x", "datatype": "BYTES", "shape": [1, 2]}]),
    asked(inputs=[{"name": "x", "datatype": "FP32", "shape": [2**62, 2**62]}]),
    asked(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, -2]}]),
    asked(inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [1, 2]}}]),
    asked(inputs=[{"name": f"x{i}", "datatype": "FP32", "shape": [1]} for i in range(65)]),
    asked(parameters={"sequence_id": {"int64_param": 3}}),
    asked(outputs=[{"name": "y", "parameters": {"classification": {"int64_param": 3}}}]),
    Request(inputs=[{"name": "x", "datatype": "FP16", "shape": [1], "contents": {"fp32_contents": [1]}}]),
    Request(inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "contents": {"int_contents": [1]}}]),
    Request(inputs=[{"name": "x", "datatype": "INT8", "shape": [1], "contents": {"int_contents": [300]}}]),
]


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_what_is_no_request_is_refused(message: Any) -> None:
    with pytest.raises(Refused):
        parse(message)


@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        messages.parse(messages.decode("ModelInferRequest", data))
    except Refused as refused:
        assert refused.status == 400


@given(place=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_a_request_or_is_refused(place: int, bit: int) -> None:
    data = bytearray(asked(id="7" * 300, outputs=[{"name": "y"}]).SerializeToString())
    data[place % len(data)] ^= 1 << bit
    try:
        messages.parse(messages.decode("ModelInferRequest", bytes(data)))
    except Refused as refused:
        assert refused.status == 400


@pytest.mark.parametrize("tag", [b"\x2a\x00", b"\x3a\x00", b"\x32\x00", b"\x22\x00", b"\x78\x00"])
def test_many_empty_fields_are_refused_before_they_are_parsed(tag: bytes) -> None:
    with pytest.raises(Refused, match="fields"):
        messages.decode("ModelInferRequest", tag * 1_000_000)


@pytest.mark.parametrize("end", [b"\x2a\xff\xff\xff\xff\x0f", b"\x2a", b"\xff" * 20, b"\x2b" * 300, b"\x29"])
def test_a_message_that_ends_inside_a_field_is_refused(end: bytes) -> None:
    with pytest.raises(Refused):
        messages.decode("ModelInferRequest", b"\x3a\xe8\x07" + bytes(1000) + end)
