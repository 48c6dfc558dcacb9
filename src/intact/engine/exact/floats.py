"""Any ONNX operator on plain arrays, as the ONNX project's own reference implementation defines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
from onnx.reference import ReferenceEvaluator

from intact.engine.exact.value import Array
from intact.errors import ModelError

Evaluator = Callable[[Sequence[Array | None]], list[Array]]


def evaluator(node: onnx.NodeProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> Evaluator:
    """Return a function from the node's operands to its outputs.

    Raises:
        ModelError: The reference implementation does not know the operator, or it holds a graph of its own.
    """
    if any(attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute):
        raise ModelError(f"operator {node.op_type} holds a graph of its own, which the reference engine does not run")
    function = onnx.helper.make_function(
        "intact.single", "node", [n for n in dict.fromkeys(node.input) if n], list(node.output), [node], list(opsets)
    )
    try:
        run = ReferenceEvaluator(function)
    except (NotImplementedError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(
            f"operator {node.domain or 'ai.onnx'}::{node.op_type} is unknown to the reference engine",
            hint="leave this part of the model out of the exact profile, or express it with standard operators",
        ) from error

    def evaluate(operands: Sequence[Array | None]) -> list[Array]:
        feeds = {name: value for name, value in zip(node.input, operands, strict=True) if name}
        return list(run.run(None, feeds))

    return evaluate
