"""Concatenation of coded tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intact.compress.operators import Claim, Context, Operator, Refusal, computed_inputs
from intact.graph.view import Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take a Concat of computed tensors."""
    if node.op != "Concat":
        return None
    if any(context.graph.constant(name) is not None for name in node.inputs):
        return Refusal(reason="Concat with a constant part")
    return Claim(nodes=(node,), layer=node.name or node.output)


def emit(emitter: Emitter, step: Step) -> None:
    """Write Concat between DequantizeLinear and QuantizeLinear: each part is requantized to the common code."""
    node = step.nodes[0]
    emitter.put("Concat", tuple(emitter.quantized(name) for name in node.inputs), node.output, **node.attributes)


OPERATOR = Operator(name="concat", claim=claim, reads=computed_inputs, emit=emit)
