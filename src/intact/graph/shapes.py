"""Shapes of the values inside a graph, as far as ONNX can infer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from intact.graph.view import Dim, Graph, Port, write

LARGE_BYTES = 1024
"""Constants above this have no values that a shape depends on; they are not written out."""


def infer_shapes(graph: Graph) -> Mapping[str, tuple[Dim | None, ...]]:
    """Return the inferred shape of every value that has one; an unknown size is None."""
    large = {name: value for name, value in graph.constants.items() if value.nbytes > LARGE_BYTES}
    ports = [Port(name=name, dtype=value.dtype, shape=value.shape) for name, value in large.items()]
    small = {name: value for name, value in graph.constants.items() if name not in large}
    slim = replace(graph, constants=small, inputs=(*graph.inputs, *ports))
    proto = onnx.shape_inference.infer_shapes(write(slim), data_prop=True)
    found: dict[str, tuple[Dim | None, ...]] = {name: value.shape for name, value in graph.constants.items()}
    for item in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        if item.type.HasField("tensor_type") and item.type.tensor_type.HasField("shape"):
            found[item.name] = tuple(_dim(dim) for dim in item.type.tensor_type.shape.dim)
    return found


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None
