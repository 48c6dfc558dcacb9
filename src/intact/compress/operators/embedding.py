"""Tables of embeddings: codes of 2 to 8 bits with a scale for each row, looked up before they are multiplied out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.operators import Claim, Context, Operator, Refusal
from intact.compress.recipe import Recipe
from intact.compress.shapes import shape
from intact.compress.space import Space
from intact.graph.view import Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step
Array = NDArray[Any]

CHUNK_ROWS = 2048
LEAST_SCALE = 2.0**-100
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
    codes, scales = _coded(table, int(emitter.plan.recipe.embeddings), _group(emitter.plan.recipe, table.shape[1]))
    name, index = step.layer, node.inputs[1]
    found = emitter.node("Gather", (emitter.constant(f"{name}.w", codes), _index(emitter, index)), f"{name}.q", axis=0)
    row_scales = emitter.constant(f"{name}.s", scales[:, None])
    scale = emitter.node("Gather", (row_scales, _index(emitter, index)), f"{name}.row", axis=0)
    real = emitter.node("Cast", (found,), f"{name}.f", to=1)  # 1 is FLOAT
    emitter.put("Mul", (real, scale), step.outputs[0])


def _group(recipe: Recipe, columns: int) -> int:
    """The group of the other layers' weights, where narrow rows can be cut into it; else whole rows."""
    group = recipe.default.group
    return group if group and recipe.embeddings != 8 and columns % group == 0 else 0


def _coded(table: Array, bits: int, group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The integers of each row and its scale: int8, shape (rows, columns), and float32, shape (rows,)."""
    levels = shape("uniform").levels(table, bits, None)
    codes, scales = np.empty(table.shape, np.int8), np.empty(len(table), np.float32)
    for start in range(0, len(table), CHUNK_ROWS):
        some = table[start : start + CHUNK_ROWS].astype(np.float64)
        space = Space(levels=levels, group=group, power_of_two=False, floor=np.full(len(some), LEAST_SCALE))
        grid = space.fit(some)
        found = grid.nearest(some, grid.column_scales(some.shape[1]))
        codes[start : start + CHUNK_ROWS], scales[start : start + CHUNK_ROWS] = grid.integers(found), grid.unit
    return codes, scales


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
