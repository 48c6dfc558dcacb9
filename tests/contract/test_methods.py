"""Every rounding method found in the folder keeps the contract of `Method`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress import methods
from intact.compress.methods import Problem, method
from intact.errors import UsageError
from intact.numbers import Affine, dequantize

METHODS = methods.methods()


def problem(weights: np.ndarray, bits: int = 8, seed: int = 0) -> Problem:
    """A layer whose rows are covered by their scales."""
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-6) / (2 ** (bits - 1) - 1)
    encoding = Affine(scale=scale, bits=bits, signed=True, axis=0, narrow=True)
    return Problem(weights=weights, encoding=encoding, generator=np.random.default_rng(seed))


def matrices() -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
    return hnp.arrays(np.float32, shapes, elements=st.floats(-100, 100, width=32))


def test_every_file_is_a_method_of_its_name() -> None:
    files = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(METHODS) == files
    assert all(METHODS[name].name == name for name in files)


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'gptqq'") as refused:
        method("gptqq")
    assert all(name in str(refused.value.hint) for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(weights=matrices(), bits=st.integers(2, 8))
def test_codes_are_in_range_and_of_the_problems_encoding(name: str, weights: np.ndarray, bits: int) -> None:
    posed = problem(weights, bits)
    codes = METHODS[name].solve(posed)
    limit = 2 ** (bits - 1) - 1
    assert codes.encoding == posed.encoding
    assert codes.q.shape == weights.shape
    assert codes.q.dtype == np.int8
    assert np.abs(codes.q.astype(int)).max() <= limit


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(weights=matrices(), bits=st.integers(2, 8))
def test_no_weight_moves_by_a_step_or_more(name: str, weights: np.ndarray, bits: int) -> None:
    posed = problem(weights, bits)
    error = np.abs(dequantize(METHODS[name].solve(posed)) - weights)
    share = 0.5 if name == "nearest" else 1.0
    assert (error <= posed.encoding.scale[:, None] * (share + 1e-5) + 1e-30).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_codes(name: str) -> None:
    weights = np.random.default_rng(0).normal(size=(16, 33)).astype(np.float32)
    first, second = (METHODS[name].solve(problem(weights, 4, seed=5)).q for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", METHODS)
def test_weights_on_the_grid_stay_where_they_are(name: str) -> None:
    codes = np.arange(-127, 128, dtype=np.int8)[None]
    encoding = Affine(scale=np.array([2.0**-9]), signed=True, axis=0, narrow=True)
    posed = Problem(weights=codes.astype(np.float32) * 2.0**-9, encoding=encoding, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(METHODS[name].solve(posed).q, codes)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_of_zeros_has_codes_of_zero(name: str) -> None:
    weights = np.zeros((3, 7), np.float32)
    assert not METHODS[name].solve(problem(weights)).q.any()


def test_nearest_takes_ties_to_even() -> None:
    encoding = Affine(scale=np.array([1.0]), signed=True, axis=0, narrow=True)
    weights = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]], np.float32)
    posed = Problem(weights=weights, encoding=encoding, generator=np.random.default_rng(0))
    assert METHODS["nearest"].solve(posed).q.tolist() == [[-2, -2, 0, 0, 2, 2]]


def test_stochastic_codes_are_the_weights_on_average() -> None:
    weights = np.random.default_rng(1).normal(size=(8, 40)).astype(np.float32)
    draws = 4000
    many = np.tile(weights, (1, draws))
    posed = problem(many, 4)
    mean = dequantize(METHODS["stochastic"].solve(posed)).reshape(8, draws, 40).mean(axis=1)
    scale = posed.encoding.scale[:, None]
    # a draw is off by less than a step, its variance at most a quarter: five standard errors
    np.testing.assert_allclose(mean, weights, atol=float(5 * 0.5 * scale.max() / np.sqrt(draws)))


def test_other_seeds_give_other_stochastic_codes() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 33)).astype(np.float32)
    first, second = (METHODS["stochastic"].solve(problem(weights, 4, seed=seed)).q for seed in (1, 2))
    assert (first != second).any()
