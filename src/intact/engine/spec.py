"""What a program takes and gives: names, types and shapes, and whether an array fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from intact.engine.limits import check_graph
from intact.errors import DataError, ModelError
from intact.graph.program import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output.

    Args:
        name: Its name in the graph.
        dtype: numpy name of the element type, such as "float32".
        shape: A size, the name of a size chosen by the caller (the same name is the same size), or None for any.
            None in place of the whole shape where the model does not say.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        sizes = "..." if self.shape is None else ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype}[{sizes}]"


def graph_of(program: Program) -> onnx.ModelProto:
    """Return the parsed model, after checking that it holds nothing it may not, and every external initializer.

    An engine that found one missing would look for a file of that name, which must never happen.

    Raises:
        ModelError: The bytes are no ONNX model, or one that `limits` refuses, or an initializer has no tensor, or one
            of another type or shape.
    """
    try:
        proto = onnx.load_from_string(program.model)
    except DecodeError as error:
        raise ModelError("the graph is no ONNX model: its bytes do not parse") from error
    for initializer in proto.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            _check_tensor(initializer, program.tensors.get(initializer.name))
    check_graph(proto, program.tensors)
    return proto


def _check_tensor(initializer: onnx.TensorProto, tensor: NDArray[Any] | None) -> None:
    if tensor is None:
        raise ModelError(f"initializer '{initializer.name}' has no tensor beside the graph")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(initializer.data_type)
    if dtype.name.endswith(("int2", "float4_e2m1fn")):
        raise ModelError(f"initializer '{initializer.name}' is {dtype}: codes below 4 bits cannot lie beside the graph")
    if tensor.dtype != dtype or tensor.shape != tuple(initializer.dims):
        found, wanted = f"{tensor.dtype}{list(tensor.shape)}", f"{dtype}{list(initializer.dims)}"
        raise ModelError(f"the tensor beside initializer '{initializer.name}' is {found}, wanted {wanted}")


def specs_of(graph: onnx.GraphProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and the outputs of a graph.

    Raises:
        ModelError: One of them is no tensor.
    """
    given = {initializer.name for initializer in graph.initializer}
    inputs = tuple(_spec(value) for value in graph.input if value.name not in given)
    return inputs, tuple(_spec(value) for value in graph.output)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    if value.type.WhichOneof("value") != "tensor_type":
        raise ModelError(f"'{value.name}' is no tensor")
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f"'{value.name}' has no element type")
    shape = tuple(_size(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
    return TensorSpec(name=value.name, dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape=shape)


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    kind = dim.WhichOneof("value")
    if kind == "dim_value":
        return int(dim.dim_value)
    return dim.dim_param or None if kind == "dim_param" else None


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the inputs in the order of `specs`, C-contiguous.

    Raises:
        DataError: A name is missing or unknown, or an array has the wrong type or shape, no elements, or a NaN or an
            infinity.
    """
    if len(inputs) != len(specs) or any(spec.name not in inputs for spec in specs):
        wanted = ", ".join(str(spec) for spec in specs)
        raise DataError(f"inputs are {sorted(inputs)}, the model wants {wanted}", hint="name every input once")
    sizes: dict[str, int] = {}
    return {spec.name: _checked(spec, inputs[spec.name], sizes) for spec in specs}


_dtype = lru_cache(np.dtype)  # looking a name up takes longer than comparing


def _checked(spec: TensorSpec, value: NDArray[Any], sizes: dict[str, int]) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise DataError(f"input '{spec.name}' is a {type(value).__name__}, wanted a numpy array")
    if value.dtype is not _dtype(spec.dtype) and value.dtype != spec.dtype:
        raise DataError(
            f"input '{spec.name}' has type {value.dtype}, wanted {spec.dtype}",
            hint=f"convert it first: x.astype('{spec.dtype}')",
        )
    if not _fits(spec.shape, value.shape, sizes):
        raise DataError(f"input '{spec.name}' has shape {list(value.shape)}, wanted {spec}")
    if value.size == 0:
        raise DataError(f"input '{spec.name}' is empty: shape {list(value.shape)}")
    if value.dtype.kind == "f" and not np.logical_and.reduce(np.isfinite(value), axis=None):
        raise DataError(f"input '{spec.name}' has a NaN or an infinity", hint="clean the data before the model sees it")
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)


def _fits(wanted: tuple[int | str | None, ...] | None, found: tuple[int, ...], sizes: dict[str, int]) -> bool:
    if wanted is None:
        return True
    if len(wanted) != len(found):
        return False
    for want, size in zip(wanted, found, strict=True):
        expected = sizes.setdefault(want, size) if isinstance(want, str) else want
        if expected is not None and expected != size:
            return False
    return True
