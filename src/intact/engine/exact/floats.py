"""Any ONNX operator on plain arrays, as the ONNX project's own reference implementation defines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from intact.engine.exact.value import Array
from intact.errors import ModelError

Evaluator = Callable[[Sequence[Array | None]], list[Array]]


def evaluator(node: onnx.NodeProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> Evaluator:
    """Return a function from the node's operands to its outputs.

    Raises:
        ModelError: The operator is not in the ONNX standard.
    """
    if not onnx.defs.has(node.op_type, node.domain):
        raise ModelError(
            f"operator {node.domain or 'ai.onnx'}::{node.op_type} is unknown to the reference engine",
            hint="express this part of the model with standard ONNX operators",
        )
    ready: dict[tuple[np.dtype[np.generic], ...], Any] = {}

    def evaluate(operands: Sequence[Array | None]) -> list[Array]:
        if node.op_type == "GatherElements":
            return [_gather_elements(node, *operands)]
        if node.op_type == "Pad":
            operands = _cropped(operands)
        feeds = {name: value for name, value in zip(node.input, operands, strict=True) if name and value is not None}
        types = tuple(value.dtype for value in feeds.values())
        if types not in ready:  # some operators are defined by a function that depends on the types
            from onnx.reference import ReferenceEvaluator  # not before it is needed: it takes a while to import

            ready[types] = ReferenceEvaluator(_single(node, dict(zip(feeds, types, strict=True)), opsets))
        try:
            with np.errstate(all="ignore"):  # infinities are as valid here as in any engine
                return list(ready[types].run(None, feeds))
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError) as error:
            shapes = ", ".join(f"{value.dtype}{list(value.shape)}" for value in feeds.values())
            raise ModelError(f"operator {node.op_type} cannot be applied to {shapes}: {error}") from error

    return evaluate


def _gather_elements(node: onnx.NodeProto, data: Array | None, indices: Array | None) -> Array:
    """Do what GatherElements says; the reference implementation fails beyond 64 elements along the axis."""
    if data is None or indices is None:
        raise ModelError("operator GatherElements has too few operands")
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0) % data.ndim
    within = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))
    return np.take_along_axis(data[within], indices % data.shape[axis], axis)


def _cropped(operands: Sequence[Array | None]) -> list[Array | None]:
    """Take off what negative pads of a Pad remove, which the reference implementation fails at; the rest are kept."""
    data, pads = operands[0], operands[1] if len(operands) > 1 else None
    if data is None or pads is None or (pads >= 0).all():
        return list(operands)
    named = operands[3] if len(operands) > 3 else None
    axes = range(data.ndim) if named is None else [int(axis) % data.ndim for axis in named]
    before, after = np.split(np.minimum(pads, 0), 2)
    for axis, low, high in zip(axes, -before, -after, strict=True):
        if low + high > data.shape[axis]:
            raise ModelError(f"operator Pad removes {low + high} of {data.shape[axis]} elements along axis {axis}")
        data = np.take(data, np.arange(low, data.shape[axis] - high), axis)
    return [data, np.maximum(pads, 0), *operands[2:]]


def _single(
    node: onnx.NodeProto, types: dict[str, np.dtype[np.generic]], opsets: Sequence[onnx.OperatorSetIdProto]
) -> onnx.ModelProto:
    """Return a model of this one node."""
    element = {name: onnx.helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in types.items()}
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in element.items()],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    return onnx.helper.make_model(graph, opset_imports=opsets)
