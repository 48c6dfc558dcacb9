"""Averages over windows whose every size is a power of two, or odd: then no engine can round them differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from intact.compress.operators import (
    MOST_LEFT,
    Claim,
    Context,
    Exponents,
    Operator,
    Refusal,
    first_input,
    with_relu,
)
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.encodings import Encoding
    from intact.compress.plan import Step

MOST_ODD = 4095
"""With more values than this, an engine's float quotient may fall on the other side of a tie."""
MOST_VALUES = 2**16
"""The sum of more codes than this may not fit the integers that float32 holds."""


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take AveragePool and GlobalAveragePool with windows of a known, safe count."""
    if node.op not in ("AveragePool", "GlobalAveragePool"):
        return None
    count = _count(context, node)
    if count is None:
        return Refusal(reason=f"{node.op} over a window whose size is not known or varies")
    if count & (count - 1) and count % 2 == 0:
        return Refusal(reason=f"{node.op} over {count} values, neither odd nor a power of two")
    if count > (MOST_ODD if count % 2 else MOST_VALUES):
        return Refusal(reason=f"{node.op} over {count} values, too many for an exact mean")
    return Claim(nodes=with_relu(context.graph, node), layer=node.name or node.output)


def _count(context: Context, node: Node) -> int | None:
    """How many values every window averages; None where that is not fixed."""
    if node.op == "GlobalAveragePool":
        sizes = context.shapes.get(node.inputs[0], ())[2:]
        known = [size for size in sizes if isinstance(size, int)]
        return math.prod(known) if known and len(known) == len(sizes) else None
    padded = any(node.attributes.get("pads", ())) or node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
    if node.attributes.get("ceil_mode", 0) or (padded and not node.attributes.get("count_include_pad", 0)):
        return None
    return int(math.prod(node.attributes["kernel_shape"]))


def emit(emitter: Emitter, step: Step) -> None:
    """Write the average between DequantizeLinear and QuantizeLinear."""
    node = step.nodes[0]
    emitter.put(node.op, (emitter.quantized(node.inputs[0]),), step.outputs[0], **node.attributes)


def allowed(graph: Graph, step: Step, encodings: Mapping[str, Encoding]) -> Exponents:
    """No coarser than the input, so that a mean over an odd count is no tie; a mean never leaves the input's range."""
    exponent = encodings[step.nodes[0].inputs[0]].exponent
    return Exponents(least=exponent - MOST_LEFT, greatest=exponent)


OPERATOR = Operator(name="pool", claim=claim, reads=first_input, emit=emit, allowed=allowed)
