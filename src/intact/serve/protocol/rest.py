"""The REST form of the Open Inference Protocol: JSON, and the binary tensor extension.

A request with the header `Inference-Header-Content-Length` is so many bytes of JSON, then the data of its inputs that
have the parameter `binary_data_size`, in order and without gaps.

Source:
    Open Inference Protocol (KServe), "open_inference_rest.yaml"; Triton Inference Server, "Binary Tensor Data
    Extension".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from intact.serve.protocol import tensors
from intact.serve.protocol.request import (
    Array,
    InferRequest,
    InferResponse,
    Wanted,
    check_count,
    check_id,
    check_name,
    refuse_meaning,
)
from intact.serve.refused import Refused, bad_request
from intact.wire import count_values

HEADER_LENGTH: Final = "inference-header-content-length"
SHORT: Final = 2048
"""JSON up to so many bytes is remembered once it was read."""
MOST_VALUES: Final = 2**21
"""Most values in the JSON of a request; each takes some thirty bytes of memory, whatever it says."""


Described: TypeAlias = tuple[str, str, tuple[int, ...], int | None]
"""An output: name, datatype, shape, and how many bytes of data it has behind the JSON."""


@dataclass(frozen=True, slots=True)
class Body:
    """A response as bytes.

    Args:
        data: All of it.
        header_length: Bytes of JSON at its begin where data follow; None where it is JSON alone.
    """

    data: bytes
    header_length: int | None


def parse(body: bytes, header_length: int | None) -> InferRequest:
    """Return the request that `body` writes.

    Args:
        body: All of it, of bounded length.
        header_length: What the header `Inference-Header-Content-Length` says, if it is there.

    Raises:
        Refused: It is no such request.
    """
    if header_length is not None and not 0 < header_length <= len(body):
        raise bad_request(f"{HEADER_LENGTH} is {header_length}, but the body has {len(body)} bytes")
    end = len(body) if header_length is None else header_length
    head = body[:end] if end < len(body) else body
    form = _remembered(head) if end <= SHORT else _form(head)
    feeds: dict[str, Array] = {}
    for item in form.inputs:
        if item.value is not None:
            feeds[item.name] = item.value
            continue
        if header_length is None:
            raise bad_request(f"binary data of input {item.name!a} needs the header {HEADER_LENGTH}")
        if item.size > len(body) - end:
            raise bad_request(f"input {item.name!a} says it has {item.size} bytes, but {len(body) - end} are left")
        data = body[end : end + item.size]
        feeds[item.name] = tensors.from_bytes(item.name, item.datatype, item.shape, data)
        end += item.size
    if end != len(body):
        raise bad_request(f"{len(body) - end} bytes follow the data of the last input")
    return InferRequest(form.id, feeds, form.wanted, form.binary)


def header_length_of(body: bytes) -> int | None:
    """Return how many bytes of JSON `body` begins with, where data follow: what a receipt's reader has to find out.

    Raises:
        Refused: It begins with no JSON.
    """
    text = body.decode("utf-8", "replace")
    try:
        document, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise bad_request("request is not JSON, nor JSON and data") from None
    inputs = document.get("inputs") if isinstance(document, dict) else None
    sizes = [_binary_size(item) for item in inputs or () if isinstance(item, dict)]
    if all(size is None for size in sizes):
        return None if end == len(text.rstrip()) else len(text[:end].encode())
    return len(body) - sum(size or 0 for size in sizes)


def format(response: InferResponse, request: InferRequest) -> Body:
    """Return `response` as the bytes that `request` asked for.

    Raises:
        Refused: An output that goes as JSON is not finite.
    """
    binary = {wanted.name: wanted.binary for wanted in request.wanted}
    described: list[Described] = []
    data: list[bytes] = []
    values: dict[str, list[Any]] = {}
    for name, value in response.outputs.items():
        base = name if name in binary else name.rpartition(".")[0]  # of several that stand for one that was named
        raw = tensors.to_bytes(value) if binary.get(base, request.binary) else None
        described.append((name, tensors.datatype_of(value.dtype), value.shape, None if raw is None else len(raw)))
        if raw is None:
            values[name] = value.ravel().tolist()
        else:
            data.append(raw)
    about = (response.model, response.version, response.id, tuple(described))
    if not values:
        head = _head(*about)
        return Body(b"".join((head, *data)), len(head)) if data else Body(head, None)
    try:
        head = _ENCODER.encode(_document(*about, values)).encode()
    except ValueError:
        raise bad_request("an output is not finite, which JSON cannot write", hint="ask for binary data") from None
    return Body(b"".join((head, *data)), len(head)) if data else Body(head, None)


def error_body(message: str, hint: str | None = None) -> bytes:
    """Return what a refused caller reads: the protocol's error object."""
    return _ENCODER.encode({"error": f"{message}; {hint}" if hint else message}).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse_constant(_: str) -> None:
    raise ValueError


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _json(head: bytes) -> dict[str, Any]:
    """Return the JSON object `head`: no key twice, no NaN, no infinity, not too many values."""
    if count_values(head) > MOST_VALUES:
        raise bad_request(f"request has more than {MOST_VALUES} values in JSON", hint="send tensors as binary data")
    try:
        document = _DECODER.decode(head.decode())
    except (ValueError, RecursionError):
        raise bad_request("request is not JSON") from None
    if type(document) is not dict:
        raise bad_request("request is no JSON object")
    return document


def _items(document: Mapping[str, Any], field: str) -> Sequence[dict[str, Any]]:
    """Return the objects in the list `field`; none where it is absent."""
    items = document.get(field, ())
    if type(items) not in (list, tuple) or not all(type(item) is dict for item in items):
        raise bad_request(f"{field} is no list of objects")
    check_count(len(items), field)
    return items  # type: ignore[no-any-return]  # a list of dicts, as was just checked


def _parameters(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("parameters", {})
    if type(found) is not dict:
        raise bad_request("parameters is no object")
    return found


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise bad_request(f"parameter {name} is neither true nor false")
    return value


def _binary_size(item: Mapping[str, Any]) -> int | None:
    """Return how many bytes of data an input has behind the JSON; None where its data are in it."""
    size = _parameters(item).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise bad_request("parameter binary_data_size is no number of bytes")
    return size


@dataclass(frozen=True, slots=True)
class _Item:
    """An input as the JSON describes it: a value, or so many bytes of data behind it."""

    name: str
    datatype: str
    shape: Sequence[object]
    size: int
    value: Array | None


@dataclass(frozen=True, slots=True)
class _Form:
    """All that the JSON of a request says."""

    id: str
    inputs: tuple[_Item, ...]
    wanted: tuple[Wanted, ...]
    binary: bool


def _form(head: bytes) -> _Form:
    """Return what the JSON of a request says.

    Raises:
        Refused: It is that of no request.
    """
    document = _json(head)
    parameters = _parameters(document)
    refuse_meaning(parameters)
    inputs = tuple([_item(item) for item in _items(document, "inputs")])
    if not inputs:
        raise bad_request("request has no inputs")
    if len({item.name for item in inputs}) != len(inputs):
        raise bad_request("an input comes twice")
    binary = _flag(parameters, "binary_data_output")
    wanted = tuple([_wanted(item, binary) for item in _items(document, "outputs")])
    return _Form(check_id(document.get("id", "")), inputs, wanted, binary)


_remembered: Final = lru_cache(maxsize=256)(_form)
"""The same, for short JSON: a client's requests often differ in nothing but their binary data."""


def _item(item: Mapping[str, Any]) -> _Item:
    """Return one input."""
    name = check_name(item.get("name"), "an input")
    parameters = _parameters(item)
    refuse_meaning(parameters)
    size = _binary_size(item)
    shape, datatype = item.get("shape"), item.get("datatype")
    if type(shape) is not list or type(datatype) is not str:
        raise bad_request(f"input {name!a} has no shape or no datatype")
    if size is not None:
        if "data" in item:
            raise bad_request(f"binary data of input {name!a} are in the JSON too")
        return _Item(name, datatype, tuple(shape), size, None)
    if type(item.get("data")) is not list:
        raise bad_request(f"input {name!a} has no data")
    value = tensors.from_values(name, datatype, shape, item["data"])
    value.flags.writeable = False
    return _Item(name, datatype, tuple(shape), 0, value)


def _document(
    model: str, version: str, identity: str, outputs: tuple[Described, ...], values: Mapping[str, list[Any]]
) -> dict[str, Any]:
    """Return the JSON of a response."""
    found: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": []}
    for name, datatype, shape, size in outputs:
        item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if size is None:
            item["data"] = values[name]
        else:
            item["parameters"] = {"binary_data_size": size}
        found["outputs"].append(item)
    if identity:
        found["id"] = identity
    return found


@lru_cache(maxsize=256)
def _head(model: str, version: str, identity: str, outputs: tuple[Described, ...]) -> bytes:
    """Return the JSON of a response whose data all follow as bytes."""
    return _ENCODER.encode(_document(model, version, identity, outputs, {})).encode()


def _wanted(item: Mapping[str, Any], default: bool) -> Wanted:
    parameters = _parameters(item)
    refuse_meaning(parameters)
    return Wanted(check_name(item.get("name"), "an output"), _flag(parameters, "binary_data", default))


__all__ = ["HEADER_LENGTH", "Body", "Refused", "error_body", "format", "header_length_of", "parse"]
