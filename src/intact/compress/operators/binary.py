"""Sums and products of two coded tensors: residual connections and gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from intact.compress.operators import (
    MOST_LEFT,
    MOST_SHIFT,
    Claim,
    Context,
    Exponents,
    Operator,
    Refusal,
    computed_inputs,
    sum_exponents,
    with_relu,
)
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.encodings import Encoding
    from intact.compress.plan import Step


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take Add, Sub or Mul of two computed tensors, with the Relu after it."""
    if node.op not in ("Add", "Sub", "Mul") or any(context.graph.constant(name) is not None for name in node.inputs):
        return None
    return Claim(nodes=with_relu(context.graph, node), layer=node.name or node.output)


def emit(emitter: Emitter, step: Step) -> None:
    """Write the float operator between DequantizeLinear and QuantizeLinear; engines fuse the three."""
    node = step.nodes[0]
    least = None if node.op == "Mul" else emitter.least_exponent(node.inputs)
    emitter.put(node.op, tuple(emitter.quantized(name, least=least) for name in node.inputs), step.outputs[0])


def allowed(graph: Graph, step: Step, encodings: Mapping[str, Encoding]) -> Exponents:
    """A sum is in units of its finer operand, a product in those of both multiplied."""
    node = step.nodes[0]
    exponents = [encodings[name].exponent for name in node.inputs]
    if node.op == "Mul":
        return Exponents(least=sum(exponents) - MOST_LEFT, greatest=sum(exponents) + MOST_SHIFT)
    return sum_exponents(exponents)


OPERATOR = Operator(name="binary", claim=claim, reads=computed_inputs, emit=emit, allowed=allowed)
