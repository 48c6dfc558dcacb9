"""The gRPC form of the Open Inference Protocol: message classes in a pool of their own, parsing and formatting.

The pool is private, so that `tritonclient`, which brings messages of the same names, can live in the same process.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from intact.serve.protocol import tensors
from intact.serve.protocol.request import (
    MOST_TENSORS,
    Array,
    InferRequest,
    InferResponse,
    Wanted,
    check_count,
    check_id,
    check_name,
    refuse_meaning,
)
from intact.serve.refused import bad_request

SERVICE: Final = "inference.GRPCInferenceService"
MOST_FIELDS: Final = 4 * MOST_TENSORS
"""Most fields of a request, and of each message in it: many empty ones take fifty times their bytes in memory."""
MOST_VALUES: Final = 2**21
"""Most typed values of an input; each takes some thirty bytes of memory, whatever it says."""

Nested: TypeAlias = Mapping[int, "Nested"]
_NESTED: Final[Nested] = {5: {5: {}}, 6: {}}
"""Numbers of the fields of a request that are messages: inputs with their contents, outputs."""


def _classes() -> dict[str, Any]:
    """Return the message classes by name."""
    described = FileDescriptorSet.FromString(files(__package__).joinpath("open_inference.binpb").read_bytes())
    pool = DescriptorPool()
    for file in described.file:
        pool.Add(file)
    (name,) = (file.name for file in described.file)
    found = pool.FindFileByName(name).message_types_by_name
    return {short: GetMessageClass(descriptor) for short, descriptor in found.items()}


MESSAGES: Final = _classes()
_Request: Final = MESSAGES["ModelInferRequest"]
_Response: Final = MESSAGES["ModelInferResponse"]

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""Where the typed values of a datatype are; FP16 and BF16 have no place there, and come raw."""


def decode(kind: str, data: bytes) -> Any:
    """Return the message of class `kind` in `data`, of bounded length.

    Raises:
        Refused: There is none.
    """
    if len(data) > MOST_FIELDS:  # a shorter one cannot have more fields
        _refuse_many_fields(data, 0, len(data), _NESTED if kind == "ModelInferRequest" else {})
    try:
        return MESSAGES[kind].FromString(data)
    except DecodeError:
        raise bad_request(f"request is no {kind}") from None


def parse(message: Any) -> InferRequest:
    """Return the request that a `ModelInferRequest` is.

    Raises:
        Refused: It is no such request.
    """
    refuse_meaning(message.parameters)
    inputs, raw = message.inputs, message.raw_input_contents
    check_count(len(inputs), "inputs")
    check_count(len(message.outputs), "outputs")
    if not inputs:
        raise bad_request("request has no inputs")
    if raw and len(raw) != len(inputs):
        raise bad_request(f"there are {len(inputs)} inputs, but {len(raw)} raw_input_contents")
    feeds: dict[str, Array] = {}
    for number, item in enumerate(inputs):
        name = check_name(item.name, "an input")
        refuse_meaning(item.parameters)
        if name in feeds:
            raise bad_request(f"input {name!a} comes twice")
        feeds[name] = _tensor(name, item, raw[number] if raw else None)
    return InferRequest(check_id(message.id), feeds, tuple(_wanted(item) for item in message.outputs), True)


def format(response: InferResponse, request: InferRequest) -> bytes:
    """Return `response` as the bytes of a `ModelInferResponse`, its tensors raw."""
    message = _Response(model_name=response.model, model_version=response.version, id=response.id)
    for name, value in response.outputs.items():
        message.outputs.add(name=name, datatype=tensors.datatype_of(value.dtype), shape=value.shape)
        message.raw_output_contents.append(tensors.to_bytes(value))
    return message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _tensor(name: str, item: Any, raw: bytes | None) -> Array:
    """Return one input, from bytes or from typed values."""
    if len(item.shape) > tensors.MOST_AXES:  # before there is a list of them
        raise bad_request(f"input {name!a} has more than the {tensors.MOST_AXES} axes allowed")
    shape = list(item.shape)
    if raw is not None:
        if item.HasField("contents"):
            raise bad_request(f"input {name!a} has contents and raw_input_contents")
        return tensors.from_bytes(name, item.datatype, shape, raw)
    field = _CONTENTS.get(item.datatype)
    if field is None:
        raise bad_request(f"input {name!a} of datatype {item.datatype!a:.40} has to come in raw_input_contents")
    if any(found.name != field for found, _ in item.contents.ListFields()):
        raise bad_request(f"input {name!a} has contents of another datatype than {item.datatype}")
    values = getattr(item.contents, field)
    if len(values) > MOST_VALUES:
        raise bad_request(f"input {name!a} has more than {MOST_VALUES} typed values", hint="send raw_input_contents")
    return tensors.from_values(name, item.datatype, shape, list(values))


def _wanted(item: Any) -> Wanted:
    refuse_meaning(item.parameters)
    return Wanted(check_name(item.name, "an output"), True)


def _refuse_many_fields(data: bytes, at: int, end: int, nested: Nested) -> None:
    """Raise Refused where a message, or one in it, has too many fields, or ends inside one.

    Args:
        data: Holds the message.
        at: Where it begins.
        end: Where it ends.
        nested: Numbers of its fields that are messages.
    """
    count = 0
    while at < end:
        tag, at = _varint(data, at)
        kind, start = tag & 7, at
        count += 1
        if kind == 2:
            length, start = _varint(data, at)
            at = start + length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise bad_request("request has a field of an unknown kind")
        if count > MOST_FIELDS or at > end:
            raise bad_request(f"request has more than {MOST_FIELDS} fields, or ends inside one")
        if kind == 2 and at - start > MOST_FIELDS and tag >> 3 in nested:
            _refuse_many_fields(data, start, at, nested[tag >> 3])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = shift = 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place + 1
        shift += 7
    raise bad_request("request ends inside a number, or has one that is too long")
