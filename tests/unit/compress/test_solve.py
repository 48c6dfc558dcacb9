"""A layer in integers whose sums provably fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress.encodings import Encoding
from intact.compress.operators import MOST_LEFT, MOST_SHIFT
from intact.compress.recipe import LayerRecipe
from intact.compress.solve import Layer, Solution, solve
from intact.numbers import Affine, dequantize

SOURCE = Encoding(affine=Affine(scale=2.0**-6, zero_point=128))


def solved(
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    target: Encoding | None = None,
    recipe: LayerRecipe | None = None,
    *,
    power_of_two: bool = True,
) -> Solution:
    layer = Layer(name="layer", weights=weights, bias=bias, source=SOURCE, target=target, power_of_two=power_of_two)
    return solve(layer, recipe or LayerRecipe(), np.random.default_rng(0))


def worst_sum(solution: Solution) -> int:
    """An oracle in Python integers: the largest |accumulator| that any codes can make."""
    q = solution.codes.q.astype(int).tolist()
    bias = [0] * len(q) if solution.bias is None else solution.bias.tolist()
    reach = max(int(SOURCE.zero_point), 255 - int(SOURCE.zero_point))
    return max(sum(abs(w) for w in row) * reach + abs(b) for row, b in zip(q, bias, strict=True))


def weight_rows() -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 40))
    values = st.floats(-(2.0**40), 2.0**40, width=32)
    return hnp.arrays(np.float32, shapes, elements=st.one_of(values, st.just(0.0), st.floats(-1, 1, width=32)))


@settings(max_examples=100, deadline=None)
@given(weights=weight_rows(), seed=st.integers(0, 99), size=st.sampled_from([0.0, 1.0, 1e6, 1e20]))
def test_no_accumulator_leaves_float32s_integers(weights: np.ndarray, seed: int, size: float) -> None:
    bias = (np.random.default_rng(seed).normal(size=len(weights)) * size).astype(np.float32)
    solution = solved(weights, bias)
    assert worst_sum(solution) < 2**24
    assert solution.codes.encoding.is_power_of_two
    assert solution.codes.encoding.narrow


@pytest.mark.parametrize("fan_in", [10, 500, 520, 5000, 70_000])
def test_a_huge_fan_in_of_full_weights_fits(fan_in: int) -> None:
    solution = solved(np.ones((2, fan_in), np.float32), np.full(2, 3.0, np.float32))
    assert worst_sum(solution) < 2**24
    np.testing.assert_allclose(dequantize(solution.codes), 1.0, atol=0.51 * float(solution.codes.encoding.scale.max()))


def test_a_row_of_zeros_keeps_its_bias() -> None:
    weights = np.array([[0.0, 0.0], [0.5, -0.25]], np.float32)
    for value in (1.0, -3.5, 1e-3, 1e9):
        solution = solved(weights, np.array([value, 0.0], np.float32))
        steps = SOURCE.scale * solution.codes.encoding.scale.astype(np.float64)
        assert solution.bias is not None
        assert solution.bias[0] * steps[0] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("weight", [1e-45, 1e-40, 1e-30, 1e-20])
def test_weights_too_small_to_matter_do_no_harm(weight: float) -> None:
    weights = np.full((2, 3), weight, np.float32)
    solution = solved(weights, np.array([1.0, -1.0], np.float32))
    assert worst_sum(solution) < 2**24


def test_an_outlier_row_has_a_scale_of_its_own() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    plain = solved(weights).codes.encoding.scale.copy()
    weights[2] *= 2.0**20
    scales = solved(weights).codes.encoding.scale
    assert scales[2] == plain[2] * 2**20
    np.testing.assert_array_equal(np.delete(scales, 2), np.delete(plain, 2))


@settings(max_examples=60, deadline=None)
@given(weights=weight_rows(), exponent=st.integers(-20, 30), zero_point=st.sampled_from([0, 64, 128, 254]))
def test_the_shift_into_a_code_with_a_zero_point_is_bounded(
    weights: np.ndarray, exponent: int, zero_point: int
) -> None:
    target = Encoding(affine=Affine(scale=2.0**exponent, zero_point=zero_point))
    scales = solved(weights, target=target).codes.encoding.scale.astype(np.float64)
    shift = np.log2(target.scale / (SOURCE.scale * scales))
    assert zero_point == 0 or (shift <= MOST_SHIFT).all()


def test_a_bias_that_holds_the_code_at_its_end_is_cut_to_what_does() -> None:
    weights = np.full((1, 4), 0.5, np.float32)
    target = Encoding(affine=Affine(scale=2.0**-4, zero_point=0))
    solution = solved(weights, np.array([-1e30], np.float32), target=target)
    assert solution.bias is not None
    unit = SOURCE.scale * float(solution.codes.encoding.scale[0])
    largest = float(np.abs(solution.codes.q.astype(int)).sum() * 255 * unit)
    assert solution.bias[0] * unit + largest < 0  # no input can lift it above zero
    assert unit <= target.scale * 2**MOST_LEFT


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_error_is_that_of_the_codes(bits: int) -> None:
    weights = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    solution = solved(weights, recipe=LayerRecipe(weights=bits))
    difference = dequantize(solution.codes) - weights
    assert solution.error == pytest.approx(float(np.mean(difference**2) / np.mean(weights**2)), rel=1e-4)
    assert solution.error < 16 * 4.0**-bits


def test_free_scales_are_no_worse_than_powers_of_two() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    for bits in (3, 4, 8):
        recipe = LayerRecipe(weights=bits)
        free = solved(weights, recipe=recipe, power_of_two=False).error
        assert free <= solved(weights, recipe=recipe).error * 1.0001


def test_a_layer_without_a_static_input_has_no_integer_bias() -> None:
    layer = Layer(
        name="layer",
        weights=np.ones((1, 2), np.float32),
        bias=np.ones(1, np.float32),
        source=None,
        target=None,
        power_of_two=False,
    )
    assert solve(layer, LayerRecipe(), np.random.default_rng(0)).bias is None
