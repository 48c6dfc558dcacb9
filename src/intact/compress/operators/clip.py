"""Relu and Clip that could not be folded into the step before: bounds on the codes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intact.compress.operators import Claim, Context, Operator, Refusal, first_input
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take Relu, and Clip with constant bounds that hold zero."""
    if node.op == "Relu":
        return Claim(nodes=(node,), layer=node.name or node.output)
    if node.op != "Clip":
        return None
    if any(context.graph.constant(name) is None for name in node.inputs[1:] if name):
        return Refusal(reason="Clip with computed bounds")
    low, high = bounds(context.graph, node)
    if not low <= 0.0 <= high:
        return Refusal(reason=f"Clip to [{low}, {high}], which leaves zero out")
    return Claim(nodes=(node,), layer=node.name or node.output)


def bounds(graph: Graph, node: Node) -> tuple[float, float]:
    """The real bounds of a Relu or Clip."""
    if node.op == "Relu":
        return 0.0, np.inf
    given = [graph.constant(name) for name in (*node.inputs[1:], "", "")[:2]]
    low = -np.inf if given[0] is None else float(given[0])
    return low, np.inf if given[1] is None else float(given[1])


def emit(emitter: Emitter, step: Step) -> None:
    """Write Clip on uint8 codes, its bounds rounded to codes; nothing where they cut nothing off."""
    node = step.nodes[0]
    encoding = emitter.encodings[node.inputs[0]]
    codes = [
        int(np.clip(np.rint(bound / encoding.scale) + encoding.zero_point, 0, 255))
        for bound in bounds(emitter.graph, node)
    ]
    source = emitter.codes(node.inputs[0])
    if codes == [0, 255]:
        emitter.put_codes(node.output, source)
        return
    low, high = (emitter.scalar(code, np.uint8) for code in codes)
    emitter.put_codes(node.output, emitter.node("Clip", (source, low, high), f"{node.output}_q"))


OPERATOR = Operator(name="clip", claim=claim, reads=first_input, emit=emit, moves=True)
