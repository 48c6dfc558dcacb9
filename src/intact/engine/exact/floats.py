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
        ModelError: The operator is not in the ONNX standard, or it holds a graph of its own.
    """
    if not onnx.defs.has(node.op_type, node.domain):
        raise ModelError(
            f"operator {node.domain or 'ai.onnx'}::{node.op_type} is unknown to the reference engine",
            hint="express this part of the model with standard ONNX operators",
        )
    if any(attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute):
        raise ModelError(f"operator {node.op_type} holds a graph of its own, which the reference engine does not run")
    ready: dict[tuple[np.dtype[np.generic], ...], Any] = {}

    def evaluate(operands: Sequence[Array | None]) -> list[Array]:
        if node.op_type == "GatherElements":
            return [_gather_elements(node, *operands)]
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
