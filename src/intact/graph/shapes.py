"""Shapes and dtypes of the values inside a graph, as far as ONNX can infer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from intact.graph.view import Dim, Graph, Port, write

LARGE_BYTES = 1024
"""Constants above this have no values that a shape depends on; they are not written out."""


def infer_shapes(graph: Graph) -> Mapping[str, tuple[Dim | None, ...]]:
    """Return the inferred shape of every value that has one; an unknown size is None."""
    found: dict[str, tuple[Dim | None, ...]] = {name: value.shape for name, value in graph.constants.items()}
    for item in _inferred(graph):
        if item.type.tensor_type.HasField("shape"):
            found[item.name] = tuple(_dim(dim) for dim in item.type.tensor_type.shape.dim)
    return found


def infer_dtypes(graph: Graph) -> Mapping[str, np.dtype[Any]]:
    """Return the inferred dtype of every value that has one."""
    found: dict[str, np.dtype[Any]] = {name: value.dtype for name, value in graph.constants.items()}
    for item in _inferred(graph):
        if item.type.tensor_type.elem_type:
            found[item.name] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type))
    return found


def _inferred(graph: Graph) -> list[onnx.ValueInfoProto]:
    """The ports and inner values of which something is known."""
    large = {name: value for name, value in graph.constants.items() if value.nbytes > LARGE_BYTES}
    beside = [Port(name=name, dtype=value.dtype, shape=value.shape) for name, value in large.items()]
    small = {name: value for name, value in graph.constants.items() if name not in large}
    slim = replace(graph, constants=small, inputs=(*graph.inputs, *beside))
    proto = onnx.shape_inference.infer_shapes(write(slim), data_prop=True)
    ports = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    return [item for item in ports if item.type.HasField("tensor_type")]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None
