"""Operators that move codes without changing them, and the maximum, which commutes with every code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from intact.compress.operators import Claim, Context, Operator, Refusal, first_input
from intact.graph.view import Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step

MOVES = frozenset(
    [
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Slice",
        "Split",
        "Pad",
        "MaxPool",
        "Expand",
        "DepthToSpace",
        "SpaceToDepth",
        "Tile",
    ]
)


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take an operator that only moves values; a Pad only where it pads with zero."""
    if node.op not in MOVES:
        return None
    if node.op == "MaxPool" and len(node.outputs) > 1:
        return Refusal(reason="MaxPool that also gives indices")
    if node.op == "Pad" and node.attributes.get("mode", "constant") == "constant" and len(node.inputs) > 2:
        value = context.graph.constant(node.inputs[2])
        if node.inputs[2] and (value is None or np.any(value != 0)):
            return Refusal(reason="Pad with a value other than zero")
    return Claim(nodes=(node,), layer=node.name or node.output)


def emit(emitter: Emitter, step: Step) -> None:
    """Write the operator on the codes themselves."""
    node = step.nodes[0]
    source = emitter.codes(node.inputs[0])
    inputs = [source, *node.inputs[1:]]
    if node.op == "Pad" and node.attributes.get("mode", "constant") == "constant":
        zero = emitter.scalar(emitter.encodings[node.inputs[0]].zero_point, np.uint8)
        inputs = [source, node.inputs[1], zero, *node.inputs[3:]]
    outputs = tuple(f"{name}_q" for name in node.outputs)
    emitter.copy(replace(node, inputs=tuple(inputs), outputs=outputs))
    for tensor, name in zip(node.outputs, outputs, strict=True):
        emitter.put_codes(tensor, name)


OPERATOR = Operator(name="move", claim=claim, reads=first_input, emit=emit, moves=True, makes_codes=False)
