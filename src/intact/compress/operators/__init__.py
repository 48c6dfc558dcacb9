"""Operators of the integer graph: one file each. A file says which float nodes it takes and how it writes them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from intact.compress.recipe import LayerRecipe, Recipe
from intact.graph.change import only_consumer
from intact.graph.view import Dim, Graph, Node

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.encodings import Encoding
    from intact.compress.plan import Step


# limits of docs/spec/integer-graph.md, section 4: within them float32 holds the integers
MOST_SHIFT = 16
"""Places that a value may be shifted right into a code with a zero point."""
MOST_LEFT = 4
"""Places that it may be shifted left."""
MOST_APART = 10
"""Places that the scales of two codes may lie apart that are added or joined."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an operator may look at when it claims a node, whose first output is float32."""

    graph: Graph
    shapes: Mapping[str, tuple[Dim | None, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    recipe: Recipe
    layout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An operator takes `nodes` (the asked one among them) as one step."""

    nodes: tuple[Node, ...]
    layer: str
    recipe: LayerRecipe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An operator knows the node and says why it, and what belongs to it, must stay float; nobody else is asked."""

    reason: str
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponents:
    """The k from `least` to `greatest` that the scale 2^k of an output may have in the exact profile."""

    least: int = -1000
    greatest: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A member of the family.

    Args:
        name: The file's name.
        claim: Takes a node, refuses it, or says None: not mine.
        reads: The float tensors a step reads as codes.
        emit: Writes a step into the integer graph.
        layouts: Where it is at work.
        moves: It only moves codes; its output has the encoding of its input.
        makes_codes: Its outputs are codes even where only float steps read them.
        exact: Every engine computes it to the bit.
        allowed: What the scale of a step's output may be, given the codes of its inputs, in the exact profile.
    """

    name: str
    claim: Callable[[Context, Node], Claim | Refusal | None]
    reads: Callable[[Graph, Step], tuple[str, ...]]
    emit: Callable[[Emitter, Step], None]
    layouts: frozenset[str] = frozenset({"codes"})
    moves: bool = False
    makes_codes: bool = True
    exact: bool = True
    allowed: Callable[[Graph, Step, Mapping[str, Encoding]], Exponents] = lambda graph, step, encodings: Exponents()


@cache
def operators() -> dict[str, Operator]:
    """Return every operator in this folder, by name, in the order in which they are asked."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").OPERATOR for name in names}


def first_input(graph: Graph, step: Step) -> tuple[str, ...]:
    """The data input of the first node."""
    return (step.nodes[0].inputs[0],)


def computed_inputs(graph: Graph, step: Step) -> tuple[str, ...]:
    """All inputs of the first node that are not constants."""
    return tuple(dict.fromkeys(name for name in step.nodes[0].present() if graph.constant(name) is None))


def sum_exponents(exponents: Collection[int]) -> Exponents:
    """What the scale of a sum (or a joining) of codes with these exponents may be; the finer ones come nearer first."""
    highest = max(exponents)
    unit = max(min(exponents), highest - MOST_APART)
    return Exponents(least=unit - MOST_LEFT, greatest=highest + 2)


def with_relu(graph: Graph, node: Node) -> tuple[Node, ...]:
    """`node` and the Relu that alone reads its output, if there is one."""
    relu = only_consumer(graph, node.output)
    return (node, relu) if relu is not None and relu.op == "Relu" else (node,)


def layer_name(node: Node) -> str:
    """The name a person knows a node by: its weight's without the ending, or its own."""
    weight = node.inputs[1] if len(node.inputs) > 1 else ""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else node.name or node.output
