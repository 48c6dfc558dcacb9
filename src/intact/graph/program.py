"""A runnable ONNX graph: the model without its large tensors, and the tensors beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.graph.view import Graph, write

INLINE_LIMIT_BYTES = 128
"""Initializers up to this size stay inside the graph; larger ones live beside it."""
_NIBBLES = (np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4))


@dataclass(frozen=True, kw_only=True)
class Program:
    """An ONNX model whose large initializers are held beside it, by name.

    Args:
        model: Serialized ModelProto. An initializer larger than `INLINE_LIMIT_BYTES` has no data of its own: its
            `data_location` is EXTERNAL and its name is a key of `tensors`.
        tensors: Values of the external initializers, in ONNX dtype and shape, C-contiguous.
    """

    model: bytes
    tensors: Mapping[str, NDArray[Any]]

    @classmethod
    def from_proto(cls, proto: onnx.ModelProto) -> Program:
        """Split the large initializers off `proto`, which is left as it was."""
        slim = onnx.ModelProto()
        slim.CopyFrom(proto)
        tensors: dict[str, NDArray[Any]] = {}
        for initializer in slim.graph.initializer:
            value = onnx.numpy_helper.to_array(initializer)
            if _lies_beside(value):
                tensors[initializer.name] = np.asarray(value, order="C")
                _detach(initializer)
        return cls(model=slim.SerializeToString(deterministic=True), tensors=tensors)

    @classmethod
    def from_graph(cls, graph: Graph) -> Program:
        """Write `graph`; its large constants stay where they are, unless they have to be made contiguous."""
        large = {name: value for name, value in graph.constants.items() if _lies_beside(value)}
        tensors = {name: np.asarray(large[name], order="C") for name in sorted(large)}
        return cls(model=write(graph, beside=tensors).SerializeToString(deterministic=True), tensors=tensors)

    def to_proto(self) -> onnx.ModelProto:
        """Return the whole model as one ModelProto, every initializer inside.

        Raises:
            ModelError: An external initializer has no tensor beside it.
        """
        proto = onnx.load_from_string(self.model)
        for initializer in proto.graph.initializer:
            if initializer.data_location == onnx.TensorProto.EXTERNAL:
                if initializer.name not in self.tensors:
                    raise ModelError(f"initializer '{initializer.name}' has no tensor beside the graph")
                initializer.CopyFrom(onnx.numpy_helper.from_array(self.tensors[initializer.name], initializer.name))
        return proto

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of the graph and its tensors together."""
        return len(self.model) + sum(tensor.nbytes for tensor in self.tensors.values())


def memory_of(tensor: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of a tensor as engines want them: its own memory, but for nibbles, of which two share a byte."""
    flat = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    if tensor.dtype not in _NIBBLES:
        return flat
    nibbles = np.resize(flat & np.uint8(15), flat.size + flat.size % 2)  # the last may have no partner
    return nibbles[::2] | nibbles[1::2] * np.uint8(16)


def _lies_beside(value: NDArray[Any]) -> bool:
    """Whether a tensor is large; texts have no bytes of their own to lie anywhere."""
    return value.dtype != object and value.nbytes > INLINE_LIMIT_BYTES


def _detach(initializer: onnx.TensorProto) -> None:
    """Drop the data of `initializer` and point it at a tensor of the same name beside the graph."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
        initializer.ClearField(field)
    initializer.data_location = onnx.TensorProto.EXTERNAL
    del initializer.external_data[:]
    initializer.external_data.add(key="location", value=initializer.name)
