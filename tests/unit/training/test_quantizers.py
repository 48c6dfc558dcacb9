"""Scales that are learned stay what the integer graph can have: powers of two, whole multipliers, within limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.encodings import Encoding
from intact.compress.space import Space
from intact.numbers import Affine
from intact.training.quantizers import REACH, Activation, Limits, Product
from intact.training.wiring import by_row


def activation(scale: float = 0.25, zero: int = 0, bits: int = 4, **options: Any) -> Activation:
    encoding = Encoding(affine=Affine(scale=scale, zero_point=zero, bits=bits))
    return Activation(encoding, **{"power_of_two": True, "learn": True, **options})


def test_a_learned_activation_scale_moves_by_octaves_and_not_too_far() -> None:
    module = activation()
    assert module.step == 0.25
    for moved, wanted in ((0.4, 0.25), (0.6, 0.5), (-0.6, 0.125), (50.0, 2.0**REACH / 4), (-50.0, 2.0**-REACH / 4)):
        with torch.no_grad():
            module.log2_step.fill_(-2.0 + moved)
        assert module.step == wanted
        assert module.encoding().scale == wanted and module.encoding().affine.bits == 4


def test_a_learned_scale_grows_where_values_saturate() -> None:
    module = activation()
    x = torch.full((64,), 100.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        (module(x) - x).square().mean().backward()
        optimizer.step()
    assert module.step > 0.25


def test_free_scales_stay_free() -> None:
    module = activation(scale=0.3, power_of_two=False)
    with torch.no_grad():
        module.log2_step += 0.1
    assert module.step == pytest.approx(0.3 * 2**0.1, rel=1e-6)


def test_a_scale_that_is_not_learned_is_the_encodings_to_the_bit() -> None:
    module = activation(scale=0.3, power_of_two=False, learn=False)
    assert module.step == float(np.float32(0.3)) and not list(module.parameters())


@pytest.mark.parametrize("factor", [np.float32(1.7), np.array([1.0, 2.0, 0.5], np.float32)])
def test_a_factor_is_left_out_of_what_comes_back(factor: Any) -> None:
    encoding = Encoding(affine=Affine(scale=2.0**-6, zero_point=128), factor=np.asarray(factor))
    module = Activation(encoding, power_of_two=True, learn=False, reads_factor=True)
    x = torch.tensor([[0.5, -0.5, 0.25]])
    assert torch.allclose(module(x) * torch.from_numpy(np.asarray(factor)), x, atol=2.0**-6 * 2)


def product(
    weights: np.ndarray[Any, Any],
    bits: int = 4,
    group: int = 0,
    least: float = 2.0**-80,
    greatest: float = 2.0**80,
    power: bool = True,
) -> Product:
    rows = len(weights)
    half = 2 ** (bits - 1)
    levels = np.arange(-half + (bits == 8), half)
    space = Space(levels=levels, group=group, power_of_two=power, floor=np.full(rows, least))
    limits = Limits(least=np.full(rows, least), greatest=np.full(rows, greatest))
    grid = space.fit(weights.astype(np.float64))
    return Product(grid, columns=weights.shape[1], power_of_two=power, limits=limits, learn=True)


def draw(seed: int, rows: int = 6, columns: int = 40) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(rows, columns)) * np.exp(generator.normal(size=(rows, 1)))).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    bits=st.integers(2, 8),
    group=st.sampled_from([0, 16]),
    power=st.booleans(),
    moved=st.floats(-2, 2),
)
def test_what_is_read_back_is_whole_numbers_times_the_unit_of_a_row(
    seed: int, bits: int, group: int, power: bool, moved: float
) -> None:
    weights = draw(seed)
    module = product(weights, bits, group if bits < 8 else 0, power=power)
    with torch.no_grad():
        module.log2_scale += moved * torch.rand_like(module.log2_scale)
    rows, _ = module(torch.from_numpy(weights), None, None)
    integers, unit = module.integers(torch.from_numpy(weights))
    assert integers.dtype == np.int8 and np.abs(integers.astype(int)).max() <= 127
    assert np.array_equal((integers * unit[:, None]).astype(np.float32), rows.detach().numpy()) or not power
    assert np.allclose(integers * unit[:, None], rows.detach().numpy(), rtol=1e-5)
    assert not power or np.array_equal(np.log2(unit), np.rint(np.log2(unit)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), bits=st.integers(3, 8))
def test_at_the_start_the_scales_are_the_solvers(seed: int, bits: int) -> None:
    weights = draw(seed)
    half = 2 ** (bits - 1)
    levels = np.arange(-half + (bits == 8), half)
    floor = np.full(len(weights), 2.0**-80)
    grid = Space(levels=levels, group=0, power_of_two=True, floor=floor).fit(weights.astype(np.float64))
    unit, multipliers = product(weights, bits).units()
    assert np.array_equal((unit * multipliers).numpy(), grid.scale.astype(np.float32))


def test_units_keep_to_their_limits() -> None:
    weights = draw(0)
    module = product(weights, least=2.0**-3, greatest=2.0**-2)
    for moved in (-30.0, 0.0, 30.0):
        with torch.no_grad():
            module.log2_scale.fill_(moved)
        unit, multipliers = module.units()
        assert ((unit >= 2.0**-3) & (unit <= 2.0**-2)).all()
        assert ((multipliers.abs() >= 1) & (multipliers.abs() <= 15)).all()


def test_coarser_rows_are_at_least_twice_as_coarse_and_the_others_as_they_were() -> None:
    module = product(draw(1))
    before, _ = module.units()
    chosen = np.array([True, False, True, False, False, False])
    module.coarsen(chosen)
    after, _ = module.units()
    assert (after[chosen] >= 2 * before[chosen]).all() and torch.equal(after[~chosen], before[~chosen])


def test_the_bias_is_whole_steps_of_the_accumulator() -> None:
    weights, bias = draw(2), torch.linspace(-1, 1, 6, requires_grad=True)
    module = product(weights)
    _, read = module(torch.from_numpy(weights), bias, 2.0**-5)
    unit, _ = module.units()
    steps = read.detach() / (unit[:, 0] * 2.0**-5)
    assert torch.equal(steps, steps.round())
    assert np.array_equal(steps.numpy(), module.bias_steps(bias, 2.0**-5))
    read.sum().backward()
    assert bias.grad.tolist() == [1.0] * 6


def test_masked_weights_are_zero_and_have_no_gradient() -> None:
    weights = draw(3)
    keep = np.random.default_rng(0).random(weights.shape) < 0.5
    grid = Space(levels=np.arange(-8, 8), group=0, power_of_two=True, floor=np.full(6, 2.0**-80)).fit(
        weights.astype(np.float64)
    )
    limits = Limits(least=np.full(6, 2.0**-80), greatest=np.full(6, 2.0**80))
    module = Product(grid, columns=40, power_of_two=True, limits=limits, learn=False, keep=keep)
    given = torch.from_numpy(weights).requires_grad_()
    rows, _ = module(given, None, None)
    rows.sum().backward()
    assert (rows.detach().numpy()[~keep] == 0).all() and (given.grad.numpy()[~keep] == 0).all()


def test_rows_of_their_own_scale_do_not_see_each_other() -> None:
    x = torch.randn(4, 9)
    alone = torch.cat([by_row(row[None], (-1,)) for row in x])
    assert torch.equal(by_row(x, (-1,)), alone)
    assert (alone - x).abs().max() <= x.abs().max() / 127
    assert torch.equal(by_row(torch.zeros(1, 9), (-1,)), torch.zeros(1, 9))
