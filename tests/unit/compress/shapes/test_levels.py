from __future__ import annotations

import itertools

import numpy as np
import pytest

from intact.compress.shapes import shape
from intact.compress.space import Space

NOTHING = np.zeros((1, 1))


def test_uniform_uses_every_code_below_8_bits() -> None:
    assert shape("uniform").levels(NOTHING, 2, None).tolist() == [-2, -1, 0, 1]
    assert shape("uniform").levels(NOTHING, 4, None).tolist() == list(range(-8, 8))
    assert shape("uniform").levels(NOTHING, 8, None).tolist() == list(range(-127, 128))


def test_nf4_is_the_published_table() -> None:
    table = [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
    assert shape("nf4").levels(NOTHING, 4, None).tolist() == np.rint(np.array(table) * 127).tolist()


@pytest.mark.parametrize("bits", range(2, 9))
def test_powers_are_powers(bits: int) -> None:
    levels = shape("powers").levels(NOTHING, bits, None)
    assert {abs(level) for level in levels.tolist()} - {0} <= {2**power for power in range(7)}
    assert len(levels) == min(2**bits - 1, 15)


@pytest.mark.parametrize("bits", range(2, 9))
def test_two_powers_are_sums_of_two_powers(bits: int) -> None:
    weights = np.random.default_rng(0).normal(size=(16, 400))
    sums = {first + second for first, second in itertools.product([0, *(2**power for power in range(7))], repeat=2)}
    levels = shape("two-powers").levels(weights, bits, None)
    assert {abs(level) for level in levels.tolist()} <= sums
    assert len(levels) > min(2 ** (bits - 1), 40)


def test_kmeans_finds_the_clusters_there_are() -> None:
    draws = np.random.default_rng(0)
    centres = np.array([-1.0, -0.4, 0.0, 0.7])
    weights = centres[draws.integers(0, 4, (5, 200))] * np.array([[1.0], [3.0], [0.2], [7.0], [1.0]])
    assert shape("kmeans").levels(weights, 2, None).tolist() == [-127, -51, 0, 89]
    assert shape("kmeans").levels(-weights, 2, None).tolist() == [-89, 0, 51, 127]


def test_kmeans_goes_to_the_columns_that_count() -> None:
    draws = np.random.default_rng(0)
    weights = np.concatenate([draws.uniform(-1, 1, (4, 300)), draws.choice([-0.9, 0.33, 1.0], (4, 300))], axis=1)
    importance = np.repeat([1e-6, 1.0], 300)
    levels = shape("kmeans").levels(weights, 2, importance) / 127
    assert all(np.abs(levels - wanted).min() < 0.03 for wanted in (-0.9, 0.33, 1.0))


@pytest.mark.parametrize("bits", [3, 4, 5])
def test_kmeans_fits_heavy_tails_better_than_equal_steps(bits: int) -> None:
    weights = np.random.default_rng(0).standard_t(4, size=(16, 600))
    errors = {}
    for name in ("kmeans", "uniform", "nf4"):
        space = Space(levels=shape(name).levels(weights, bits, None), group=0, power_of_two=False, floor=np.zeros(16))
        grid = space.fit(weights)
        rounded = grid.decode(grid.nearest(weights, grid.column_scales(600)))
        errors[name] = np.square(weights - rounded).sum()
    assert errors["kmeans"] < errors["uniform"] * 0.9
    assert errors["kmeans"] < errors["nf4"] * 1.02
