"""Sums and products of two coded tensors: residual connections and gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intact.compress.operators import Claim, Context, Operator, Refusal, computed_inputs, with_relu
from intact.graph.view import Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take Add, Sub or Mul of two computed tensors, with the Relu after it."""
    if node.op not in ("Add", "Sub", "Mul") or any(context.graph.constant(name) is not None for name in node.inputs):
        return None
    return Claim(nodes=with_relu(context.graph, node), layer=node.name or node.output)


def emit(emitter: Emitter, step: Step) -> None:
    """Write the float operator between DequantizeLinear and QuantizeLinear; engines fuse the three."""
    node = step.nodes[0]
    emitter.put(node.op, tuple(emitter.quantized(name) for name in node.inputs), step.outputs[0])


OPERATOR = Operator(name="binary", claim=claim, reads=computed_inputs, emit=emit)
