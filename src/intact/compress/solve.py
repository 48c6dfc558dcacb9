"""Turn one layer's weights and bias into integers whose sums provably fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.encodings import Encoding
from intact.compress.methods import Problem, Rounded, method, output_error
from intact.compress.moments import Moments, by_groups, target
from intact.compress.operators import MOST_SHIFT
from intact.compress.pruning import prune
from intact.compress.recipe import LayerRecipe
from intact.compress.shapes import room, shape
from intact.compress.space import SMALLEST, Grid, Space
from intact.errors import ModelError, UsageError
from intact.numbers import Affine, Codes, budget, dyadic

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A layer in integers.

    Args:
        codes: The weights that run: int8, shape (rows, columns), a scale per row.
        bias: int32, shape (rows,), in steps of input scale times weight scale; None without a static input or a bias.
        real_bias: The bias as a real number, with what correction added: float32, shape (rows,), or None.
        bits: Width of the codes behind the weights.
        error: Mean squared error of the weights over their mean square.
        output_error: The same of the layer's output on the calibration data; None where its inputs were not looked at.
        grid: The values that the weights were chosen from; None where training made them.
    """

    codes: Codes
    bias: NDArray[np.int32] | None
    real_bias: Array | None
    bits: int
    error: float
    output_error: float | None = None
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer to be solved.

    Args:
        name: For messages.
        weights: float32, shape (rows, columns), already times the factor of the input's encoding.
        bias: float32, shape (rows,), or None.
        source: Encoding of the input, or None where it has no static one.
        target: Encoding of the output, or None where it stays float.
        power_of_two: Whether scales are powers of two.
        moments: Of the input in the graph's units; None where they were not gathered.
        takes_bias: Whether the layer can have a bias where it has none.
        codes_bias: Whether the bias is written in whole steps of the accumulator, where the input is coded.
    """

    name: str
    weights: Array
    bias: Array | None
    source: Encoding | None
    target: Encoding | None
    power_of_two: bool
    moments: Moments | None = None
    takes_bias: bool = True
    codes_bias: bool = True


def solve(layer: Layer, recipe: LayerRecipe, generator: np.random.Generator) -> Solution:
    """Round the weights so that no accumulator can leave the integers that float32 holds exactly.

    A row whose sums might reach 2^24 (2^31 in the tolerant profile) gets a coarser scale, twice as coarse at a time,
    until they cannot.

    Raises:
        ModelError: The bias alone is out of reach, whatever the scale.
        UsageError: The recipe's group does not divide the layer.
    """
    corrects = recipe.bias_correction and layer.moments is not None and (layer.bias is not None or layer.takes_bias)
    moments = layer.moments.centred() if layer.moments is not None and corrects else layer.moments
    rows = _Rows(layer, recipe, moments, generator)
    floor = np.maximum(np.maximum(_shift_floor(layer), _bias_floor(layer)), np.full(len(layer.weights), SMALLEST))
    wanted = np.ones(len(layer.weights), bool)
    for _ in range(64):
        rows.round(wanted, floor)
        codes = rows.codes()
        bias = _corrected(layer, codes) if corrects else layer.bias
        steps = _bias_steps(layer, bias, codes.encoding)
        wanted = _overflows(layer, codes, steps)
        if not wanted.any():
            return Solution(
                codes=codes,
                bias=None if steps is None else steps.astype(np.int32),
                real_bias=None if bias is None else bias.astype(np.float32),
                bits=int(recipe.weights),
                error=_error(layer, codes),
                output_error=rows.output_error(),
                grid=rows.grid(),
            )
        floor = np.where(wanted, codes.encoding.scale.astype(np.float64) * 2, floor)
    raise ModelError(f"layer '{layer.name}' has a bias that no scale can hold beside its weights")


class _Rows:
    """The rows of a layer, rounded again and again until they fit."""

    def __init__(
        self, layer: Layer, recipe: LayerRecipe, moments: Moments | None, generator: np.random.Generator
    ) -> None:
        self._layer, self._recipe, self._generator = layer, recipe, generator
        self._moments = moments
        weights = layer.weights.astype(np.float64)
        self._check_group(weights.shape[1])
        self._goal = weights if moments is None else target(weights, moments)
        self._keep = np.ones(weights.shape, bool)
        self._prune()
        largest = room(int(recipe.weights), recipe.group, layer.power_of_two)
        self._levels = shape(recipe.codes).levels(self._goal, int(recipe.weights), self._importance(), largest)
        self._integers = np.zeros(weights.shape, np.int8)
        self._unit = np.ones(len(weights))
        self._group = recipe.group or weights.shape[1]
        self._multipliers = np.ones((len(weights), -(-weights.shape[1] // self._group)), np.int64)
        self._errors = np.zeros(len(weights))

    def _check_group(self, columns: int) -> None:
        if self._recipe.group and columns % self._recipe.group:
            fits = [size for size in range(16, 129) if columns % size == 0]
            raise UsageError(
                f"layer '{self._layer.name}' has {columns} input columns, not a multiple of group {self._recipe.group}",
                hint=f"groups that divide: {', '.join(map(str, fits)) or 'none; use group = 0'}",
            )

    def _importance(self) -> Array | None:
        if self._moments is None:
            return None
        return np.asarray(np.mean([np.diag(gram) for gram in self._moments.gram], axis=0))

    def _parts(self) -> list[tuple[slice, Array | None]]:
        """The rows of each group of a convolution, and the moments of their inputs."""
        if self._moments is None:
            return [(slice(None), None)]
        groups = by_groups(len(self._moments.gram), len(self._goal))
        return list(zip(groups, self._moments.gram, strict=True))

    def _prune(self) -> None:
        if not self._recipe.sparsity:
            return
        for rows, gram in self._parts():
            pruned = prune(self._goal[rows], gram, self._recipe.pruning, self._recipe.sparsity, self._recipe.pattern)
            self._goal[rows], self._keep[rows] = pruned.weights, pruned.keep

    def round(self, wanted: NDArray[np.bool_], floor: Array) -> None:
        """Round the rows marked in `wanted`, their units at least `floor`."""
        indices = np.arange(len(self._goal))
        for rows, gram in self._parts():
            chosen = indices[rows][wanted[rows]]
            if len(chosen):
                self._round_part(chosen, gram, floor[chosen])

    def _round_part(self, chosen: NDArray[np.int64], gram: Array | None, floor: Array) -> None:
        space = Space(levels=self._levels, group=self._recipe.group, power_of_two=self._layer.power_of_two, floor=floor)
        keep = self._keep[chosen]
        problem = Problem(
            weights=self._goal[chosen],
            gram=gram,
            space=space,
            generator=self._generator,
            keep=None if keep.all() else keep,
        )
        answer: Rounded = method(self._recipe.method).solve(problem)
        grid: Grid = answer.grid
        self._integers[chosen] = grid.integers(answer.levels)
        self._unit[chosen], self._multipliers[chosen] = grid.unit, grid.multipliers
        self._errors[chosen] = output_error(problem, answer)

    def codes(self) -> Codes:
        """The integers that run."""
        return Codes(q=self._integers, encoding=Affine(scale=self._unit, bits=8, signed=True, axis=0, narrow=True))

    def grid(self) -> Grid:
        """The values that they were chosen from."""
        return Grid(levels=self._levels, unit=self._unit, multipliers=self._multipliers, group=self._group)

    def output_error(self) -> float | None:
        """Mean squared error of the output over its mean square; None where the inputs are not known."""
        if self._moments is None:
            return None
        power = sum(
            float(np.einsum("rk,rk->", self._goal[rows] @ gram, self._goal[rows]))
            for rows, gram in self._parts()
            if gram is not None
        )
        return float(self._errors.sum()) / power if power > 0 else 0.0


def _corrected(layer: Layer, codes: Codes) -> Array:
    """The bias plus the mean of what rounding took from the output: float64, shape (rows,).

    Source:
        Nagel et al. 2019, arXiv:1906.04721, section 4.2.
    """
    assert layer.moments is not None  # callers ask only then
    bias = np.zeros(len(layer.weights)) if layer.bias is None else layer.bias.astype(np.float64)
    rounded = codes.centred * codes.encoding.scale.astype(np.float64)[:, None]
    weights = layer.weights.astype(np.float64)
    lost = np.zeros(len(weights))
    for number, rows in enumerate(by_groups(len(layer.moments.mean), len(weights))):
        lost[rows] = weights[rows] @ layer.moments.float_mean[number] - rounded[rows] @ layer.moments.mean[number]
    return np.asarray(bias + lost)


def _overflows(layer: Layer, codes: Codes, bias: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Per row, whether its sums might leave what holds them: float32's integers, or 32 bits in the tolerant profile."""
    source = Affine(scale=1.0, zero_point=128) if layer.source is None else layer.source.affine
    bound = budget.accumulator(codes.q, source, np.zeros(len(codes.q), np.int64) if bias is None else bias)
    return np.asarray(bound >= 2 ** _accumulator_bits(layer))


def _accumulator_bits(layer: Layer) -> int:
    return budget.FLOAT32_BITS if layer.power_of_two else 31


def _bias_floor(layer: Layer) -> Array | float:
    """Per row, a weight scale below which the bias alone would leave the accumulator: rows of zeros need it."""
    if layer.bias is None or layer.source is None or not layer.codes_bias:
        return 0.0
    reach = np.abs(_bounded_bias(layer, layer.bias)) / layer.source.scale
    least = np.maximum(reach * 2.0 ** -_accumulator_bits(layer), SMALLEST)
    return np.asarray(np.ldexp(1.0, dyadic.exponent_ceil(least)))


def _bounded_bias(layer: Layer, bias: Array) -> Array:
    """The bias, but no larger than what holds the output's code at its end whatever the input: float64."""
    bias = bias.astype(np.float64)
    if layer.source is None or layer.target is None:
        return bias
    products = np.abs(layer.weights.astype(np.float64)).sum(axis=1) * 255 * layer.source.scale
    most = 2 * products + 256 * layer.target.scale
    return np.clip(bias, -most, most)


def _shift_floor(layer: Layer) -> float:
    """The least weight scale from which the shift into the output's code is at most `MOST_SHIFT`."""
    if not layer.power_of_two or layer.source is None or layer.target is None or layer.target.zero_point == 0:
        return 0.0
    return layer.target.scale / layer.source.scale * 2.0**-MOST_SHIFT


def _bias_steps(layer: Layer, bias: Array | None, encoding: Affine) -> NDArray[np.int64] | None:
    if bias is None or layer.source is None or not layer.codes_bias:
        return None
    steps = _bounded_bias(layer, bias) / (layer.source.scale * encoding.scale.astype(np.float64))
    return np.rint(np.clip(steps, -(2.0**40), 2.0**40)).astype(np.int64)


def _error(layer: Layer, codes: Codes) -> float:
    weights = layer.weights.astype(np.float64)
    power = float(np.mean(np.square(weights)))
    rounded = codes.centred * codes.encoding.scale.astype(np.float64)[:, None]
    return float(np.mean(np.square(rounded - weights))) / power if power else 0.0
