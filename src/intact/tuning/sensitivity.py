"""What each choice for each layer does to the output: one cheap pass, and a second one around a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intact.compress.recipe import Recipe
from intact.errors import CheckFailed
from intact.tuning.assignment import Option, Point, front, repaired
from intact.tuning.choices import Assignment, Choice, apply
from intact.tuning.laboratory import Laboratory
from intact.tuning.objective import Layer, Objective
from intact.tuning.trials import Probe, Refine

Errors = Mapping[str, Mapping[Choice, float]]
"""For each layer, the error of the output by choice."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Errors by layer and choice, and what of the pass was left undone."""

    errors: Errors
    remarks: tuple[str, ...]


def probe(laboratory: Laboratory, recipe: Recipe, layers: Sequence[Layer], choices: Sequence[Choice]) -> Found:
    """Measure each layer alone at each choice, the rest in float.

    Raises:
        CheckFailed: Nothing could be measured.
    """
    trials = [
        Probe(recipe=apply(recipe, {layer.name: choice for layer in layers if layer.admits(choice)}))
        for choice in choices
    ]
    errors: dict[str, dict[Choice, float]] = {layer.name: {} for layer in layers}
    refused, late = [], []
    for choice, facts in zip(choices, laboratory.ask(trials, "sensitivity"), strict=True):
        if facts is None:
            late.append(choice)
        elif "refused" in facts:
            refused.append(f"{choice}: {facts['refused']}")
        else:
            for layer in layers:
                if layer.admits(choice) and layer.name in facts["layers"]:
                    errors[layer.name][choice] = facts["layers"][layer.name]
    if not all(errors.values()):
        told = "; ".join(refused) or "the time did not suffice for one pass"
        raise CheckFailed(f"no sensitivity of a layer could be measured: {told}", hint="give more --minutes")
    remarks = [f"not tried, for it cannot be built: {each}" for each in refused]
    remarks += [f"not tried, for the time was up: {', '.join(map(str, late))}"] if late else []
    return Found(errors={name: _repaired(found) for name, found in errors.items()}, remarks=tuple(remarks))


def _repaired(found: Mapping[Choice, float]) -> dict[Choice, float]:
    """Take luck out of the errors of the choices that differ in width alone."""
    families: dict[tuple[bool, str], dict[Choice, float]] = {}
    for choice, error in found.items():
        families.setdefault((choice.group > 0, choice.method), {})[choice] = error
    result = {}
    for family in families.values():
        by_width: dict[int, float] = {}
        for choice, error in family.items():
            by_width[choice.bits] = max(error, by_width.get(choice.bits, error))
        floors = repaired(by_width)
        for choice, error in family.items():
            wider = [floors[bits] for bits in floors if bits > choice.bits]
            result[choice] = max([error, *wider])
    return result


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """A point of a front, by layer."""

    assignment: Assignment
    cost: int
    error: float


def assign(errors: Errors, layers: Sequence[Layer], objective: Objective) -> tuple[Assigned, ...]:
    """Return the front of all assignments, the dearest first."""
    choices = {layer.name: sorted(errors[layer.name]) for layer in layers}
    options = [
        [Option(cost=objective.cost(layer, choice), error=errors[layer.name][choice]) for choice in choices[layer.name]]
        for layer in layers
    ]
    return tuple(_assigned(point, layers, choices) for point in front(options))


def _assigned(point: Point, layers: Sequence[Layer], choices: Mapping[str, Sequence[Choice]]) -> Assigned:
    picked = {layer.name: choices[layer.name][pick] for layer, pick in zip(layers, point.picks, strict=True)}
    return Assigned(assignment=picked, cost=point.cost, error=point.error)


def refine(
    laboratory: Laboratory,
    recipe: Recipe,
    layers: Sequence[Layer],
    errors: Errors,
    objective: Objective,
    around: Assignment,
) -> tuple[Assigned, ...]:
    """Measure every layer one step cheaper and one step dearer with the rest as in `around`; return the new front.

    Its errors are differences from the error of `around`. Empty where the time did not suffice.
    """
    moves = [_moved(around, layers, errors, objective, step) for step in (-1, 1)]
    here = apply(recipe, around)
    trials = [Refine(recipe=here, moved=apply(recipe, {**around, **move})) for move in moves]
    found: dict[str, dict[Choice, float]] = {layer.name: {around[layer.name]: 0.0} for layer in layers}
    for move, facts in zip(moves, laboratory.ask(trials, "refine"), strict=True):
        if facts is None or "refused" in facts:
            return ()
        for name, choice in move.items():
            if name in facts["layers"]:
                found[name][choice] = facts["layers"][name] - facts["base"]
    return assign(found, layers, objective)


def _moved(
    around: Assignment, layers: Sequence[Layer], errors: Errors, objective: Objective, step: int
) -> dict[str, Choice]:
    """For each layer that has one, the choice next to its own on its own front of cost and error."""
    moved = {}
    for layer in layers:
        ladder = [
            choice.assignment[layer.name] for choice in assign({layer.name: errors[layer.name]}, [layer], objective)
        ]
        at = ladder.index(around[layer.name]) if around[layer.name] in ladder else None
        if at is not None and 0 <= at - step < len(ladder):
            moved[layer.name] = ladder[at - step]
    return moved
