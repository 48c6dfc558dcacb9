"""Choose the code of every tensor that lives as codes, from what calibration saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Range, observer
from intact.compress.operators import operators
from intact.compress.plan import FLOAT, Plan, Step
from intact.compress.recipe import LayerRecipe
from intact.numbers import Affine, covering, dyadic

LEVELS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """An activation's 8-bit code: real value = factor * affine.scale * (code - affine.zero_point).

    Args:
        affine: The uint8 code as the graph writes it; a power-of-two scale in the exact profile.
        factor: What the graph leaves out of the scale because the next layer's weights take it in; 1 inside.
    """

    affine: Affine
    factor: float = 1.0

    @property
    def scale(self) -> float:
        """The step between neighbouring codes in the graph's units."""
        return float(self.affine.scale)

    @property
    def zero_point(self) -> int:
        """The code of zero."""
        return int(self.affine.zero_point)

    @property
    def real_scale(self) -> float:
        """The step between neighbouring codes in real units."""
        return self.scale * self.factor


def choose_encodings(plan: Plan, statistics: Mapping[str, Statistics]) -> dict[str, Encoding]:
    """Return the encoding of every tensor in `plan.coded`.

    A tensor that a step only moved has the encoding of its source. A graph input that only matrix products read may
    have a free scale in the exact profile: what is left over a power of two goes into their weights.
    """
    chosen: dict[str, Encoding] = {}
    for port in plan.graph.inputs:
        if port.name in plan.coded:
            chosen[port.name] = _fit(plan, port.name, statistics, free_input=_feeds_products_only(plan, port.name))
    for step in plan.steps:
        _encode_step(plan, step, statistics, chosen)
    return chosen


def _encode_step(plan: Plan, step: Step, statistics: Mapping[str, Statistics], chosen: dict[str, Encoding]) -> None:
    operator = operators().get(step.operator)
    if operator is not None:
        for name in operator.reads(plan.graph, step.nodes):
            if name not in chosen:  # a float step made it: it is quantized where it is read
                chosen[name] = _fit(plan, name, statistics)
    for name in step.outputs:
        if name not in plan.coded or name in chosen:
            continue
        if operator is not None and operator.moves:
            chosen[name] = chosen[operator.reads(plan.graph, step.nodes)[0]]
        elif step.operator != FLOAT:
            chosen[name] = _fit(plan, name, statistics)


def _fit(plan: Plan, name: str, statistics: Mapping[str, Statistics], *, free_input: bool = False) -> Encoding:
    recipe = _reader_recipe(plan, name)
    power_of_two = plan.power_of_two and not free_input
    grid = Grid(levels=LEVELS, power_of_two=power_of_two)
    seen = observer(recipe.observer).choose(statistics[name], grid, recipe.percentile)
    if free_input:
        return _free_input(seen)
    return fit(seen, power_of_two=power_of_two)


def fit(seen: Range, *, power_of_two: bool) -> Encoding:
    """Return the finest encoding that covers `seen`."""
    return Encoding(affine=covering(seen.low, seen.high, power_of_two=power_of_two))


def _free_input(seen: Range) -> Encoding:
    """A free real scale, written as a power of two times a factor in [1, 2)."""
    free = covering(seen.low, seen.high)
    parts = dyadic.split(free.scale)
    affine = Affine(scale=np.ldexp(1.0, parts.exponent), zero_point=free.zero_point)
    return Encoding(affine=affine, factor=float(parts.significand))


def _feeds_products_only(plan: Plan, name: str) -> bool:
    """Whether every reader of `name`, moves apart, is a matrix product."""
    for step in plan.steps:
        operator = operators().get(step.operator)
        if not any(name in node.present() for node in step.nodes):
            continue
        if operator is None or step.recipe is None:
            if operator is None or not operator.moves:
                return False
            if not all(_feeds_products_only(plan, output) for output in step.outputs if output in plan.coded):
                return False
    return name not in plan.graph.output_names


def _reader_recipe(plan: Plan, name: str) -> LayerRecipe:
    """The settings of the first layer that reads `name`; the default where none does."""
    for step in plan.layers:
        if name in step.nodes[0].present() and step.recipe is not None:
            return step.recipe
    return plan.recipe.default
