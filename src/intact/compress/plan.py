"""Decide what becomes of every node: which operator of the integer graph takes it, or why it stays float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from intact.compress.methods import method
from intact.compress.observers import observer
from intact.compress.operators import Claim, Context, Operator, Refusal, layer_name, operators
from intact.compress.patterns import pattern
from intact.compress.pruning import pruner
from intact.compress.recipe import LayerRecipe, Recipe
from intact.compress.shapes import shape
from intact.errors import UsageError
from intact.graph.shapes import infer_dtypes, infer_shapes
from intact.graph.view import Graph, Node

FLOAT = "float"
PLUMBING = frozenset(
    {"Cast", "Concat", "Expand", "Gather", "GatherND", "Identity", "Range", "Reshape", "Shape", "Slice", "Split"}
    | {"Squeeze", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that compute shapes and move data; nobody asks why they are not integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of the integer graph to be.

    Args:
        operator: Member of `compress/operators`, or "float".
        nodes: The float nodes it stands for, in order; the output of the last is its output.
        layer: The name a person knows it by.
        recipe: Settings of a layer with weights; None elsewhere.
        reason: Why it stays float; empty elsewhere.
    """

    operator: str
    nodes: tuple[Node, ...]
    layer: str
    recipe: LayerRecipe | None = None
    reason: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values it makes."""
        return self.nodes[-1].outputs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What becomes of a graph.

    Args:
        graph: The normalised float graph.
        recipe: What was asked.
        layout: "codes" or "islands", decided.
        steps: In topological order.
        coded: Names of the tensors that live as 8-bit codes.
        exact: Whether every host will give the same bits.
    """

    graph: Graph
    recipe: Recipe
    layout: Literal["codes", "islands"]
    steps: tuple[Step, ...]
    coded: frozenset[str]
    exact: bool

    @property
    def power_of_two(self) -> bool:
        """Whether inner scales are powers of two."""
        return self.layout == "codes" and self.recipe.profile != "tolerant"

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps that have weights of their own and are quantized."""
        return tuple(step for step in self.steps if step.recipe is not None and step.operator != FLOAT)

    @property
    def floats(self) -> tuple[Step, ...]:
        """The steps that stay float for a reason worth telling."""
        return tuple(step for step in self.steps if step.operator == FLOAT and step.reason)


def plan(graph: Graph, recipe: Recipe) -> Plan:
    """Assign every node of `graph` to an operator of the integer graph.

    Raises:
        UsageError: The recipe names a layer, a method or an observer that is not there, or asks for the exact profile
            where it cannot be had.
    """
    layout = _layout(graph, recipe) if recipe.layout == "auto" else recipe.layout
    context = Context(graph=graph, shapes=infer_shapes(graph), dtypes=infer_dtypes(graph), recipe=recipe, layout=layout)
    steps = _assign(context)
    _check_patterns(recipe, steps)
    for step in steps:
        if step.recipe is not None:
            _check_names(step.recipe)
    steps, coded = _settle(graph, steps, operators())
    inexact = _inexact(steps, recipe, layout)
    if recipe.profile == "exact" and inexact:
        told = "; ".join(inexact[:5])
        raise UsageError(f"the exact profile cannot be had: {told}", hint="use profile = 'auto' to keep these in float")
    return Plan(graph=graph, recipe=recipe, layout=layout, steps=steps, coded=coded, exact=not inexact)


def _inexact(steps: tuple[Step, ...], recipe: Recipe, layout: str) -> list[str]:
    """Why the graph is not exact; nothing where it is."""
    found = [f"{step.layer}: {step.reason}" for step in steps if step.operator == FLOAT and step.reason]
    if recipe.profile == "tolerant" or layout == "islands":
        found.append("free scales were chosen")
    for step in steps:
        if step.operator != FLOAT and not operators()[step.operator].exact:
            found.append(f"{step.layer}: rows of a table have free scales")
        if step.operator != FLOAT and step.recipe is not None and step.recipe.activations != "static":
            found.append(f"{step.layer}: its activations have no static scale")
    return found


def observed(made: Plan) -> tuple[str, ...]:
    """The tensors whose ranges calibration must see: those that live as codes, or would in a neighbouring plan."""
    names = dict.fromkeys(name for step in made.steps if step.operator != FLOAT for name in step.outputs)
    return tuple(dict.fromkeys([*sorted(made.coded), *names]))


def _layout(graph: Graph, recipe: Recipe) -> Literal["codes", "islands"]:
    """Attention and layer norms are the marks of a transformer; codes between layers need static ranges."""
    marks = {"LayerNormalization", "Attention", "MultiHeadAttention", "RMSNormalization"}
    if recipe.default.activations != "static" or any(node.op in marks for node in graph.nodes):
        return "islands"
    return "codes"


def _assign(context: Context) -> tuple[Step, ...]:
    taken: set[int] = set()
    steps: dict[int, Step] = {}
    index = {id(node): number for number, node in enumerate(context.graph.nodes)}
    for number, node in enumerate(context.graph.nodes):
        if number in taken:
            continue
        step = _step(context, node)
        members = {index[id(member)] for member in step.nodes}
        taken |= members
        steps[max(members)] = step
    return tuple(steps[number] for number in sorted(steps))


def _step(context: Context, node: Node) -> Step:
    reason = _why_float(context, node)
    nodes: tuple[Node, ...] = (node,)
    if not _is_float(context, node.output):
        return Step(operator=FLOAT, nodes=nodes, layer=layer_name(node), reason=reason)
    for operator in operators().values():
        if context.layout not in operator.layouts:
            continue
        answer = operator.claim(context, node)
        if isinstance(answer, Claim):
            return Step(operator=operator.name, nodes=answer.nodes, layer=answer.layer, recipe=answer.recipe)
        if isinstance(answer, Refusal):
            reason, nodes = answer.reason, answer.nodes or nodes
            break
    return Step(operator=FLOAT, nodes=nodes, layer=layer_name(node), reason=reason)


def _why_float(context: Context, node: Node) -> str:
    if node.op == "Shape" or not any(_is_float(context, name) for name in (*node.present(), node.output)):
        return ""  # it computes sizes and indices, which are integers already
    if context.layout == "codes":
        return f"operator '{node.op}' has no integer form here"
    return "" if node.op in PLUMBING else "between matrix products, where this layout stays in float"


def _is_float(context: Context, name: str) -> bool:
    """Whether a value is not known to be of integers or truths."""
    return name not in context.dtypes or context.dtypes[name].kind not in "iub"


def _settle(
    graph: Graph, steps: tuple[Step, ...], known: Mapping[str, Operator]
) -> tuple[tuple[Step, ...], frozenset[str]]:
    """Find the tensors that live as codes; a step that only moves data and meets no codes stays float."""
    wanted: set[str] = set()
    for step in reversed(steps):
        if step.operator == FLOAT:
            continue
        reader = known[step.operator]
        if not reader.moves or reader.makes_codes or any(name in wanted for name in step.outputs):
            wanted.update(reader.reads(graph, step))
    coded: set[str] = set()
    settled = []
    for step in steps:
        operator: Operator | None = known.get(step.operator)
        if operator is not None and operator.moves:
            source = operator.reads(graph, step)
            if not any(name in coded or name in wanted for name in source):
                step = Step(operator=FLOAT, nodes=step.nodes, layer=step.layer)
                operator = None
        settled.append(step)
        if operator is None:
            continue
        coded.update(name for name in operator.reads(graph, step))
        if operator.moves or operator.makes_codes or any(name in wanted for name in step.outputs):
            coded.update(step.outputs)
    return tuple(settled), frozenset(coded)


def _check_names(recipe: LayerRecipe) -> None:
    """Refuse names that no family has."""
    method(recipe.method)
    observer(recipe.observer)
    shape(recipe.codes)
    if recipe.sparsity:
        pruner(recipe.pruning)
        pattern(recipe.pattern)


def _check_patterns(recipe: Recipe, steps: tuple[Step, ...]) -> None:
    names = tuple(dict.fromkeys(step.layer for step in steps))
    unused = recipe.unused_patterns(names)
    if unused:
        raise UsageError(
            f"the recipe names layers that are not there: {', '.join(unused)}",
            hint=f"layers of this model: {', '.join(step.layer for step in steps if step.recipe is not None)}"[:600],
        )
