"""Tables of embeddings: int8 codes with a scale for each row, looked up before they are multiplied out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intact.compress.operators import Claim, Context, Operator, Refusal
from intact.graph.view import Graph, Node
from intact.numbers import Affine, quantize

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step

LEAST_VALUES = 4096
"""Smaller tables are not worth two lookups."""


def claim(context: Context, node: Node) -> Claim | Refusal | None:
    """Take Gather of rows from a constant float matrix."""
    table = context.graph.constant(node.inputs[0]) if node.op == "Gather" else None
    if table is None or table.dtype != np.float32 or table.ndim != 2 or node.attributes.get("axis", 0):
        return None
    name = node.inputs[0].removesuffix(".weight")
    if context.recipe.embeddings == "float" or context.recipe.layer(name).weights == "float":
        return Refusal(reason="the recipe leaves it in float")
    if table.size < LEAST_VALUES:
        return Refusal(reason=f"a table of {table.size} values")
    return Claim(nodes=(node,), layer=name)


def reads(graph: Graph, step: Step) -> tuple[str, ...]:
    """No codes: the indices are integers already."""
    return ()


def emit(emitter: Emitter, step: Step) -> None:
    """Write Gather of codes and of row scales, and their product: only the rows asked for are multiplied out."""
    node = step.nodes[0]
    table = emitter.graph.constants[node.inputs[0]]
    scales = np.maximum(np.abs(table).max(axis=1), np.float32(2.0**-100)) / np.float32(127)
    codes = quantize(table, Affine(scale=scales, signed=True, axis=0, narrow=True)).q
    name, index = step.layer, node.inputs[1]
    found = emitter.node("Gather", (emitter.constant(f"{name}.w", codes), _index(emitter, index)), f"{name}.q", axis=0)
    row_scales = emitter.constant(f"{name}.s", scales[:, None].astype(np.float32))
    scale = emitter.node("Gather", (row_scales, _index(emitter, index)), f"{name}.row", axis=0)
    real = emitter.node("Cast", (found,), f"{name}.f", to=1)  # 1 is FLOAT
    emitter.put("Mul", (real, scale), step.outputs[0])


def _index(emitter: Emitter, name: str) -> str:
    return name if emitter.graph.constant(name) is not None else emitter.real(name)


OPERATOR = Operator(
    name="embedding",
    claim=claim,
    reads=reads,
    emit=emit,
    layouts=frozenset({"codes", "islands"}),
    makes_codes=False,
    exact=False,
)
