"""Turn one layer's weights and bias into integers whose sums provably fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.encodings import Encoding
from intact.compress.methods import Problem, method
from intact.compress.operators import MOST_SHIFT
from intact.compress.recipe import LayerRecipe
from intact.errors import ModelError
from intact.numbers import Affine, Codes, budget, dequantize, dyadic, quantize

Array = NDArray[Any]

SHRINKS = np.linspace(1.0, 0.5, 21)
SMALLEST = 2.0**-80
"""Below this a channel counts as all zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A layer in integers.

    Args:
        codes: Weight codes, shape (rows, columns), a scale per row.
        bias: int32, shape (rows,), in steps of input scale times weight scale; None without a bias.
        error: Mean squared error of the weights over their mean square.
    """

    codes: Codes
    bias: NDArray[np.int32] | None
    error: float


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
    """

    name: str
    weights: Array
    bias: Array | None
    source: Encoding | None
    target: Encoding | None
    power_of_two: bool


def solve(layer: Layer, recipe: LayerRecipe, generator: np.random.Generator) -> Solution:
    """Round the weights so that no accumulator can leave the integers that float32 holds exactly.

    A row whose sums might reach 2^24 (2^31 in the tolerant profile) gets a coarser scale, twice as coarse at a time,
    until they cannot.

    Raises:
        ModelError: The bias alone is out of reach, whatever the scale.
    """
    bits = int(recipe.weights)
    scales = _scales(layer, bits)
    for _ in range(64):
        encoding = Affine(scale=scales, bits=bits, signed=True, axis=0, narrow=True)
        codes = method(recipe.method).solve(Problem(weights=layer.weights, encoding=encoding, generator=generator))
        bias = _bias(layer, encoding)
        over = _overflows(layer, codes, bias)
        if not over.any():
            return Solution(
                codes=codes, bias=None if bias is None else bias.astype(np.int32), error=_error(layer, codes)
            )
        scales = np.where(over, scales * 2, scales)
    raise ModelError(f"layer '{layer.name}' has a bias that no scale can hold beside its weights")


def _overflows(layer: Layer, codes: Codes, bias: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Per row, whether its sums might leave what holds them: float32's integers, or 32 bits in the tolerant profile."""
    source = Affine(scale=1.0, zero_point=128) if layer.source is None else layer.source.affine
    bound = budget.accumulator(codes.q, source, np.zeros(len(codes.q), np.int64) if bias is None else bias)
    return np.asarray(bound >= 2 ** _accumulator_bits(layer))


def _accumulator_bits(layer: Layer) -> int:
    return budget.FLOAT32_BITS if layer.power_of_two else 31


def _scales(layer: Layer, bits: int) -> Array:
    """Per row, the scale with the least squared error of rounding to nearest."""
    limit = 2 ** (bits - 1) - 1
    top = np.maximum(np.abs(layer.weights).max(axis=1), SMALLEST) / limit
    if layer.power_of_two:
        highest = dyadic.exponent_ceil(top)
        candidates = [np.ldexp(1.0, highest - step) for step in range(3)]
    else:
        candidates = [top * share for share in SHRINKS]
    floor = np.maximum(np.maximum(_shift_floor(layer), _bias_floor(layer)), SMALLEST)
    candidates = [np.maximum(scale, floor) for scale in candidates]
    errors = np.stack([_row_errors(layer.weights, scale, bits) for scale in candidates])
    best = errors.argmin(axis=0)
    return np.asarray(np.stack(candidates)[best, np.arange(len(best))])


def _bias_floor(layer: Layer) -> Array | float:
    """Per row, a weight scale below which the bias alone would leave the accumulator: rows of zeros need it."""
    if layer.bias is None or layer.source is None:
        return 0.0
    reach = np.abs(_bounded_bias(layer)) / layer.source.scale
    least = np.maximum(reach * 2.0 ** -_accumulator_bits(layer), SMALLEST)
    return np.asarray(np.ldexp(1.0, dyadic.exponent_ceil(least)))


def _bounded_bias(layer: Layer) -> Array:
    """The bias, but no larger than what holds the output's code at its end whatever the input: float64."""
    assert layer.bias is not None  # callers ask only then
    bias = layer.bias.astype(np.float64)
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


def _row_errors(weights: Array, scale: Array, bits: int) -> Array:
    encoding = Affine(scale=scale, bits=bits, signed=True, axis=0, narrow=True)
    difference = dequantize(quantize(weights, encoding)) - weights
    return np.asarray(np.square(difference, dtype=np.float64).sum(axis=1))


def _bias(layer: Layer, encoding: Affine) -> NDArray[np.int64] | None:
    if layer.bias is None or layer.source is None:
        return None
    steps = _bounded_bias(layer) / (layer.source.scale * encoding.scale.astype(np.float64))
    return np.rint(np.clip(steps, -(2.0**40), 2.0**40)).astype(np.int64)


def _error(layer: Layer, codes: Codes) -> float:
    power = float(np.mean(np.square(layer.weights, dtype=np.float64)))
    error = float(np.mean(np.square(dequantize(codes) - layer.weights, dtype=np.float64)))
    return error / power if power else 0.0
