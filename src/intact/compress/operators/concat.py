"""Concatenation of coded tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from intact.compress.operators import Claim, Context, Exponents, Operator, Refusal, computed_inputs, sum_exponents
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.encodings import Encoding
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
    least = emitter.least_exponent(node.inputs)
    parts = tuple(emitter.quantized(name, least=least) for name in node.inputs)
    emitter.put("Concat", parts, node.output, **node.attributes)


def allowed(graph: Graph, step: Step, encodings: Mapping[str, Encoding]) -> Exponents:
    """Joined values are in units of the finest part."""
    return sum_exponents([encodings[name].exponent for name in step.nodes[0].inputs])


OPERATOR = Operator(name="concat", claim=claim, reads=computed_inputs, emit=emit, allowed=allowed)
