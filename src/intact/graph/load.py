"""Read an ONNX model that nobody vouches for: bounded, checked, and never outside its own folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from intact.errors import ModelError

MAX_MODEL_BYTES = 2 * 1024**3 - 1
"""Protobuf's own limit; also the bound on all external data together."""
MAX_NODES = 200_000
MIN_OPSET = 7


def load(source: Path | bytes, *, domains: Collection[str] = ()) -> onnx.ModelProto:
    """Read and check an ONNX model.

    Args:
        source: A file, whose external data must lie in its own folder; or the bytes of a model without external data.
        domains: Operator domains accepted beside the standard one.

    Returns:
        A model that passes ONNX's checker, with all of its data inside and only finite weights.

    Raises:
        ModelError: It is not ONNX, too large, refers to a file outside its folder, uses an operator or domain that
            is not known, or holds a NaN or an infinity.
    """
    data = source if isinstance(source, bytes) else _read_file(source)
    where = "the given bytes" if isinstance(source, bytes) else f"'{source}'"
    try:
        proto = onnx.load_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{where} is not an ONNX model: {_first_line(error)}", hint="export it to ONNX") from error
    del data  # the checks below take a copy of their own
    if not proto.graph.node or not proto.opset_import:
        raise ModelError(f"{where} holds no ONNX graph", hint="check that the file is whole")
    if {port.name for port in proto.graph.input} <= _names(proto.graph.initializer) or not proto.graph.output:
        raise ModelError(f"{where} is a graph without inputs or without outputs", hint="export it with both")
    if len(proto.graph.node) > MAX_NODES:
        raise ModelError(f"{where} has {len(proto.graph.node)} nodes, more than the limit of {MAX_NODES}")
    _refuse_names_that_are_no_text(proto.graph, where)
    _refuse_domains(proto, domains)
    _refuse_hidden_data((*proto.graph.node, *(node for function in proto.functions for node in function.node)))
    _inline_external_data(proto, None if isinstance(source, bytes) else source.parent)
    _check(proto, where)
    _refuse_non_finite(proto)
    return proto


def _refuse_names_that_are_no_text(graph: onnx.GraphProto, where: str) -> None:
    """Protobuf hands out bytes where a text is not UTF-8."""
    ports = (*graph.input, *graph.output, *graph.value_info)
    texts: list[str | bytes] = [port.name for port in ports] + [tensor.name for tensor in graph.initializer]
    texts += [dim.dim_param for port in ports for dim in port.type.tensor_type.shape.dim]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    if any(isinstance(text, bytes) for text in texts):
        raise ModelError(f"{where} holds a name that is not UTF-8", hint="export the model again")


def _names(tensors: Iterable[onnx.TensorProto]) -> set[str]:
    return {tensor.name for tensor in tensors}


def _read_file(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"no model file at '{path}'", hint="give the path of an .onnx file")
    size = path.stat().st_size
    if size > MAX_MODEL_BYTES:
        raise ModelError(f"'{path}' has {size} bytes, more than the limit of {MAX_MODEL_BYTES}")
    return path.read_bytes()


def _refuse_domains(proto: onnx.ModelProto, accepted: Collection[str]) -> None:
    allowed = {"", "ai.onnx", *accepted}
    local = {(function.domain, function.name) for function in proto.functions}
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            if node.domain not in allowed and (node.domain, node.op_type) not in local:
                raise ModelError(
                    f"operator '{node.op_type}' comes from the domain '{node.domain}', which was not named",
                    hint="export with standard operators only",
                )


def _refuse_hidden_data(nodes: Iterable[onnx.NodeProto]) -> None:
    """Refuse attributes that would have an engine read other files, at any depth."""
    for node in nodes:
        for attribute in node.attribute:
            graphs = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
            tensors = [attribute.t, *attribute.tensors, *(tensor for graph in graphs for tensor in graph.initializer)]
            if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
                raise ModelError(
                    f"attribute '{attribute.name}' of a {node.op_type} has its data in another file",
                    hint="keep such data in initializers, or inside the model",
                )
            for graph in graphs:
                _refuse_hidden_data(graph.node)


def _inline_external_data(proto: onnx.ModelProto, folder: Path | None) -> None:
    total = 0
    if proto.graph.sparse_initializer:
        raise ModelError("the model has sparse weights, which are not supported", hint="export it with dense weights")
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        if folder is None:
            raise ModelError(f"tensor '{tensor.name}' lies outside the given bytes", hint="load it from its file")
        total += _inline(tensor, folder)
        if total > MAX_MODEL_BYTES:
            raise ModelError(f"external data exceed the limit of {MAX_MODEL_BYTES} bytes")


def _inline(tensor: onnx.TensorProto, folder: Path) -> int:
    """Read one external tensor into the model; return its size in bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = folder / location
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or _has_link(path, folder):
        raise ModelError(f"tensor '{tensor.name}' refers to '{location}', outside the model's folder")
    if not path.is_file():
        raise ModelError(
            f"tensor '{tensor.name}' refers to '{location}', which is not there", hint="copy it beside the model"
        )
    wanted = _tensor_bytes(tensor)
    offset, length = _whole(entries.get("offset", "0")), _whole(entries.get("length", str(wanted)))
    if length != wanted or offset + length > path.stat().st_size:
        raise ModelError(
            f"tensor '{tensor.name}' wants {wanted} bytes; '{location}' has {path.stat().st_size}, "
            f"of which {length} at {offset} are named"
        )
    with path.open("rb") as file:
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return length


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError as error:
        raise ModelError(f"tensor '{tensor.name}' has the unknown type {tensor.data_type}") from error
    count = 1
    for dim in tensor.dims:
        if dim < 0 or (count := count * dim) * item > MAX_MODEL_BYTES:
            raise ModelError(f"tensor '{tensor.name}' of shape {list(tensor.dims)} exceeds {MAX_MODEL_BYTES} bytes")
    return count * item


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise ModelError(f"external data hold '{text[:20]}' where an offset or a length belongs")
    return int(text)


def _has_link(path: Path, folder: Path) -> bool:
    parts = [path, *(parent for parent in path.parents if folder in parent.parents)]
    return any(part.is_symlink() for part in parts)


def _check(proto: onnx.ModelProto, where: str) -> None:
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise ModelError(f"{where} uses opset {opset}, not within {MIN_OPSET} to {newest}", hint="export with opset 21")
    try:
        onnx.checker.check_model(proto, full_check=False)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ModelError(f"{where} is not a valid ONNX model: {_first_line(error)}") from error


def _refuse_non_finite(proto: onnx.ModelProto) -> None:
    inside = ((node.output[0], node.attribute[0].t) for node in proto.graph.node if _is_constant(node))
    for name, tensor in (*((tensor.name, tensor) for tensor in proto.graph.initializer), *inside):
        try:
            value = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"tensor '{name}' cannot be read: {_first_line(error)}") from error
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            # masks are written as minus infinity by some exporters; a weight is a matrix
            if value.ndim <= 1 and value.size == 1:
                continue
            raise ModelError(
                f"weight '{name}' has {int((~np.isfinite(value)).sum())} values that are NaN or infinite",
                hint="repair or retrain the model before it is quantized",
            )


def _is_constant(node: onnx.NodeProto) -> bool:
    return (
        node.op_type == "Constant" and not node.domain and len(node.attribute) == 1 and node.attribute[0].HasField("t")
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
