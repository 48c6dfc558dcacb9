"""Choose the code of every tensor that lives as codes, from what calibration saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.calibrate import Statistics
from intact.compress.observers import Grid, Range, observer
from intact.compress.operators import MOST_SHIFT, Exponents, operators
from intact.compress.plan import Plan, Step
from intact.compress.recipe import LayerRecipe
from intact.compress.smoothing import smooth
from intact.compress.weights import rows_of
from intact.numbers import Affine, covering, dyadic

Array = NDArray[Any]

FINEST_EXPONENT = -44
"""No scale lies below 2 to this: times that of a weight it is then a normal float32."""


def _one() -> Array:
    return np.ones((), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """An activation's code of 2 to 8 bits: real value = factor * affine.scale * (code - affine.zero_point).

    Args:
        affine: The code as the graph writes it, in a uint8; a power-of-two scale in the exact profile.
        factor: What the graph leaves out of the value because the next layer's weights take it in: float32, shape ()
            or, one for each channel of the last axis, (K,). One where nothing is left out.
    """

    affine: Affine
    factor: Array = field(default_factory=_one)

    @property
    def scale(self) -> float:
        """The step between neighbouring codes in the graph's units."""
        return float(self.affine.scale)

    @property
    def zero_point(self) -> int:
        """The code of zero."""
        return int(self.affine.zero_point)

    @property
    def exponent(self) -> int:
        """The k of a scale 2^k."""
        return int(self.affine.exponent)

    @property
    def real(self) -> Affine:
        """The code in real units; with a factor for each channel, of a channel with factor one."""
        scale = self.scale * float(self.factor) if self.factor.ndim == 0 else self.scale
        return Affine(scale=scale, zero_point=self.affine.zero_point)


def narrow(name: str, bits: int) -> str:
    """What the encoding of tensor `name` in `bits` bits is called: the tensor itself at 8, where all may read it."""
    return name if bits == 8 else f"{name}:{bits}"


def choose_encodings(plan: Plan, statistics: Mapping[str, Statistics]) -> dict[str, Encoding]:
    """Return the encoding of every tensor in `plan.coded`, and under `narrow(...)` those that only some layers read.

    A tensor that a step only moved has the encoding of its source. A graph input that only matrix products read may
    have a free scale in the exact profile: what is left over a power of two goes into their weights. In the layout
    "islands" the inputs of matrix products are smoothed.
    """
    chosen: dict[str, Encoding] = {}
    for port in plan.graph.inputs:
        if port.name in plan.coded:
            chosen[port.name] = _fit(plan, port.name, statistics, is_input=True)
    for step in plan.steps:
        _encode_step(plan, step, statistics, chosen)
    for step in plan.layers:
        _encode_narrow(plan, step, statistics, chosen)
    return chosen


def _encode_narrow(plan: Plan, step: Step, statistics: Mapping[str, Statistics], chosen: dict[str, Encoding]) -> None:
    """Give a layer that reads narrow codes its own, unless the tensor has them already."""
    assert step.recipe is not None  # layers have settings
    name, bits = step.nodes[0].inputs[0], step.recipe.activation_bits
    key = narrow(name, bits)
    if bits == 8 or key in chosen:
        return
    whole = chosen[name]
    if whole.affine.bits == bits:
        chosen[key] = whole
        return
    allowed = (
        Exponents(least=whole.exponent, greatest=whole.exponent + MOST_SHIFT) if plan.power_of_two else Exponents()
    )
    chosen[key] = _fit(plan, name, statistics, allowed=allowed, bits=bits, factor=whole.factor)


def _encode_step(plan: Plan, step: Step, statistics: Mapping[str, Statistics], chosen: dict[str, Encoding]) -> None:
    operator = operators().get(step.operator)
    if operator is not None:
        for name in operator.reads(plan.graph, step):
            if name not in chosen:  # a float step made it: it is quantized where it is read
                chosen[name] = _fit(plan, name, statistics)
    for name in step.outputs:
        if name not in plan.coded or name in chosen:
            continue
        if operator is not None and operator.moves:
            chosen[name] = chosen[operator.reads(plan.graph, step)[0]]
        elif operator is not None:
            allowed = operator.allowed(plan.graph, step, chosen) if plan.power_of_two else Exponents()
            chosen[name] = _fit(plan, name, statistics, allowed=allowed)


def _fit(
    plan: Plan,
    name: str,
    statistics: Mapping[str, Statistics],
    *,
    is_input: bool = False,
    allowed: Exponents = Exponents(),  # noqa: B008 - frozen
    bits: int = 0,
    factor: Array | None = None,
) -> Encoding:
    readers = [step for step in plan.layers if name == step.nodes[0].inputs[0]]
    recipe = readers[0].recipe if readers and readers[0].recipe is not None else plan.recipe.default
    bits = bits or _width(plan, name, readers)
    if plan.layout == "islands" and factor is None:
        smoothed = _smooth(plan, readers, statistics[name], bits)
        if smoothed is not None:
            return smoothed
    if is_input and plan.power_of_two and _feeds_products_only(plan, name):
        return _free_input(_seen(recipe, statistics[name], bits=bits, power_of_two=False), bits)
    seen = _seen(recipe, _divided(statistics[_clipped(plan, name)], factor), bits=bits, power_of_two=plan.power_of_two)
    affine = _cover(seen, bits, power_of_two=plan.power_of_two)
    affine = _even(_within(affine, seen, allowed), seen.high) if plan.power_of_two else affine
    return Encoding(affine=affine) if factor is None else Encoding(affine=affine, factor=factor)


def _width(plan: Plan, name: str, readers: list[Step]) -> int:
    """Bits of a tensor's codes: narrow where nobody but layers that want them so reads it."""
    widths = {step.recipe.activation_bits for step in readers if step.recipe is not None}
    others = len(plan.graph.consumers.get(name, ())) > len(readers) or name in plan.graph.output_names
    return widths.pop() if len(widths) == 1 and not others else 8


def _divided(statistics: Statistics, factor: Array | None) -> Statistics:
    """What was seen of a tensor, over the factor of its codes."""
    if factor is None or (factor.ndim == 0 and float(factor) == 1.0):
        return statistics
    rows = statistics.rows / factor
    low, high = (
        (statistics.low, statistics.high) if factor.ndim else (statistics.low / factor, statistics.high / factor)
    )
    if factor.ndim:
        low, high = (statistics.channel_low / factor).min(), (statistics.channel_high / factor).max()
    sample = rows.reshape(-1) if factor.ndim else statistics.sample / factor
    return replace(statistics, low=float(low), high=float(high), sample=sample, rows=rows)


def _clipped(plan: Plan, name: str) -> str:
    """Where only a Relu or Clip reads `name`, its output: no more than that range needs codes."""
    readers = [step for step in plan.steps if any(name in node.present() for node in step.nodes)]
    alone = len(readers) == 1 and readers[0].operator == "clip" and name not in plan.graph.output_names
    return readers[0].outputs[0] if alone else name


def _cover(seen: Range, bits: int, *, power_of_two: bool = False) -> Affine:
    finest = FINEST_EXPONENT if seen.low < seen.high else dyadic.SMALLEST_EXPONENT
    return covering(seen.low, seen.high, bits=bits, power_of_two=power_of_two, smallest_exponent=finest)


def _within(affine: Affine, seen: Range, allowed: Exponents) -> Affine:
    """Move the exponent of a scale into what is allowed."""
    exponent = min(max(int(affine.exponent), allowed.least), allowed.greatest)
    if exponent == int(affine.exponent):
        return affine
    scale = 2.0**exponent
    zero_point = int(np.clip(np.rint(-seen.low / scale), affine.qmin, affine.qmax))
    return Affine(scale=scale, zero_point=zero_point, bits=affine.bits)


def _even(affine: Affine, high: float) -> Affine:
    """Move an odd zero point by one: engines that add it before they round would take ties the other way."""
    zero = int(affine.zero_point)
    if zero % 2 == 0:
        return affine
    fits_above = high <= (affine.qmax - (zero + 1)) * float(affine.scale)
    return Affine(scale=affine.scale, zero_point=zero + 1 if fits_above else zero - 1, bits=affine.bits)


def _seen(recipe: LayerRecipe, statistics: Statistics, *, bits: int, power_of_two: bool) -> Range:
    grid = Grid(levels=2**bits, power_of_two=power_of_two)
    return observer(recipe.observer).choose(statistics, grid, recipe.percentile)


def _smooth(plan: Plan, readers: list[Step], statistics: Statistics, bits: int) -> Encoding | None:
    if not readers or any(step.nodes[0].op == "Conv" for step in readers):
        return None
    weights = np.concatenate([rows_of(plan.graph, step.nodes[0]) for step in readers])
    found = smooth(statistics, weights, plan.recipe.smoothing)
    if found is None:
        return None
    return Encoding(affine=_cover(found.seen, bits), factor=found.divisor)


def _free_input(seen: Range, bits: int) -> Encoding:
    """A free real scale, written as a power of two times a factor in [1, 2)."""
    free = _cover(seen, bits)
    parts = dyadic.split(free.scale)
    affine = Affine(scale=np.ldexp(1.0, parts.exponent), zero_point=free.zero_point, bits=bits)
    return Encoding(affine=affine, factor=np.asarray(parts.significand, np.float32))


def _feeds_products_only(plan: Plan, name: str) -> bool:
    """Whether every reader of `name`, moves apart, is a matrix product."""
    for step in plan.steps:
        operator = operators().get(step.operator)
        if not any(name in node.present() for node in step.nodes):
            continue
        if operator is None or step.recipe is None or step.recipe.activations != "static":
            if operator is None or not operator.moves or operator.name == "clip":
                return False
            if not all(_feeds_products_only(plan, output) for output in step.outputs):
                return False
    return name not in plan.graph.output_names
