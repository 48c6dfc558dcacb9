"""Rounding with a gradient: values as in integers, slopes as documented, the ends of the range above all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.space import nearest_level
from intact.numbers import Affine, dequantize, quantize
from intact.training.straight_through import LN2, Quantize, QuantizeWeights, Round, nearest_levels


def through(
    values: list[float], step: float = 0.5, low: float = -2.0, high: float = 5.0
) -> tuple[list[float], list[float]]:
    x = torch.tensor(values, requires_grad=True)
    y = Quantize.apply(x, None, step, step, low, high)
    y.sum().backward()
    return y.tolist(), x.grad.tolist()


def test_at_the_ends_of_the_range_the_gradient_is_whole() -> None:
    """torch.clamp's gradient at its bounds is not inherited: a value on an end code is inside."""
    values, slopes = through([-1.0, 2.5])
    assert values == [-1.0, 2.5] and slopes == [1.0, 1.0]


def test_what_rounds_to_an_end_code_is_inside_and_what_lies_beyond_is_not() -> None:
    values, slopes = through([2.74, 2.76, 100.0, -1.24, -1.26, -100.0])
    assert values == [2.5, 2.5, 2.5, -1.0, -1.0, -1.0]
    assert slopes == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_ties_go_to_the_even_code() -> None:
    assert through([0.25, 0.75, -0.25, 1.25])[0] == [0.0, 1.0, 0.0, 1.0]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), bits=st.integers(2, 8), exponent=st.integers(-8, 3), zero=st.integers(0, 255))
def test_values_are_those_of_the_integer_code(seed: int, bits: int, exponent: int, zero: int) -> None:
    zero = zero % 2**bits
    encoding = Affine(scale=2.0**exponent, zero_point=zero, bits=bits)
    x = (np.random.default_rng(seed).normal(size=200) * 2.0**exponent * 2**bits).astype(np.float32)
    wanted = dequantize(quantize(x, encoding))
    low, high = float(-zero), float(2**bits - 1 - zero)
    found = Quantize.apply(torch.from_numpy(x), None, 2.0**exponent, 2.0**exponent, low, high)
    assert np.array_equal(found.numpy(), wanted)


def test_two_steps_read_back_in_other_units() -> None:
    x = torch.tensor([0.9, 10.0], requires_grad=True)
    y = Quantize.apply(x, None, 0.3, 0.5, 0.0, 7.0)
    y.sum().backward()
    assert y.tolist() == [1.5, 3.5]
    assert x.grad.tolist() == pytest.approx([0.5 / 0.3, 0.0])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_gradient_of_a_scale_is_that_of_lsq(seed: int) -> None:
    """d y / d log2 s = ln 2 * s * (q - x / s) inside and ln 2 * s * q outside, summed against the gradient."""
    generator = np.random.default_rng(seed)
    x = torch.from_numpy(generator.normal(size=64).astype(np.float32) * 2)
    weight = torch.from_numpy(generator.normal(size=64).astype(np.float32))
    log2 = torch.tensor(-1.0, requires_grad=True)
    (Quantize.apply(x, log2, 0.5, 0.5, -2.0, 5.0) * weight).sum().backward()
    steps = x.double() / 0.5
    codes = steps.round().clamp(-2, 5)
    inside = (steps > -2.5) & (steps < 5.5)
    wanted = (weight.double() * LN2 * 0.5 * torch.where(inside, codes - steps, codes)).sum()
    assert log2.grad.item() == pytest.approx(wanted.item(), rel=1e-4, abs=1e-4)


def test_half_precision_keeps_its_dtype_and_its_codes() -> None:
    x = torch.linspace(-3, 3, 41, dtype=torch.bfloat16, requires_grad=True)
    y = Quantize.apply(x, None, 0.25, 0.25, 0.0, 7.0)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert set((y.float() / 0.25).tolist()) == set(map(float, range(8)))


def test_round_hands_the_gradient_on() -> None:
    x = torch.tensor([0.5, 1.5, -2.4], requires_grad=True)
    y = Round.apply(x)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert y.tolist() == [0.0, 2.0, -2.0] and x.grad.tolist() == [1.0, 2.0, 3.0]


LEVELS = torch.tensor([-8.0, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_weights_at_their_end_levels_have_a_gradient_and_beyond_have_none(sign: float) -> None:
    steps = torch.tensor([-8.4, -8.0, -8.6, 7.0, 7.4, 7.6, 30.0])
    weights = (steps * 0.25 * sign).reshape(1, 1, -1).requires_grad_()
    read = QuantizeWeights.apply(weights, torch.full((1, 1, 1), 0.25 * sign), LEVELS)
    read.sum().backward()
    assert (read.detach() / (0.25 * sign)).reshape(-1).tolist() == [-8, -8, -8, 7, 7, 7, 7]
    assert weights.grad.reshape(-1).tolist() == [1, 1, 0, 1, 1, 0, 0]


def test_the_gradient_of_a_weight_scale_is_shared_out_as_lsq_says() -> None:
    weights = torch.tensor([0.3, -0.1, 9.0]).reshape(1, 1, 3)
    scale = torch.full((1, 1, 1), 0.25, requires_grad=True)
    QuantizeWeights.apply(weights, scale, LEVELS).sum().backward()
    slope = (1 - 1.2) + (0 + 0.4) + 7.0
    assert scale.grad.item() == pytest.approx(slope / math.sqrt(3 * 7), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    levels=st.lists(st.integers(-127, 127), min_size=2, max_size=16, unique=True).map(lambda x: sorted({*x, 0})),
)
def test_the_nearest_levels_are_those_of_the_solver(seed: int, levels: list[int]) -> None:
    steps = np.random.default_rng(seed).normal(size=100).astype(np.float32) * 60
    found = nearest_levels(torch.from_numpy(steps), torch.tensor(levels, dtype=torch.float32))
    assert np.array_equal(found.numpy(), nearest_level(steps.astype(np.float64), np.array(levels, np.int64)))
