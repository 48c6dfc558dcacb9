import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import UsageError
from intact.numbers import budget
from intact.numbers.encoding import Affine


@given(
    weights=st.lists(st.integers(-127, 127), min_size=1, max_size=4),
    low=st.integers(-4, 0),
    high=st.integers(0, 4),
    bias=st.integers(-1000, 1000),
)
def test_no_partial_sum_exceeds_the_bound(weights: list[int], low: int, high: int, bias: int) -> None:
    bound = int(budget.worst(np.array([weights]), low, high, bias)[0])
    for inputs in itertools.product((low, high), repeat=len(weights)):
        products = [w * x for w, x in zip(weights, inputs, strict=True)]
        for order in itertools.permutations([bias, *products]):
            assert max(abs(total) for total in itertools.accumulate(order)) <= bound


def test_the_bound_is_reached() -> None:
    assert budget.worst(np.array([[3, 5]]), -2, 7, 11).tolist() == [8 * 7 + 11]


@given(
    weights=st.lists(st.lists(st.integers(-128, 127), min_size=9, max_size=9), min_size=1, max_size=5),
    zero=st.integers(0, 255),
    bias=st.integers(-(2**31), 2**31 - 1),
)
def test_accumulator_is_the_contracts_formula(weights: list[list[int]], zero: int, bias: int) -> None:
    w = np.array(weights, dtype=np.int8).reshape(len(weights), 1, 3, 3)
    got = budget.accumulator(w, Affine(scale=1.0, zero_point=zero), np.full(len(weights), bias))
    assert got.tolist() == [sum(map(abs, row)) * max(zero, 255 - zero) + abs(bias) for row in weights]


def test_the_output_axis_can_be_another() -> None:
    w = np.array([[1, -2], [3, 4], [5, -6]], dtype=np.int8)
    assert budget.accumulator(w, Affine(scale=1.0), axis=1).tolist() == [9 * 255, 12 * 255]


def test_fits_means_strictly_below() -> None:
    assert budget.fits([2**24 - 1, 5])
    assert not budget.fits([5, 2**24])
    assert budget.fits(2**31 - 1, bits=31)
    assert [budget.required_bits(bound) for bound in (0, 1, 255, 256, [])] == [0, 1, 8, 9, 0]


def test_int8_minimum_does_not_overflow() -> None:
    assert budget.worst(np.array([[-128]], dtype=np.int8), 0, 255).tolist() == [128 * 255]


def test_bounds_beyond_62_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="may not fit 62 bits"):
        budget.worst(np.full((1, 4), 2**40), 0, 2**30)


def test_arguments_that_do_not_fit_are_refused() -> None:
    ones = np.ones((1, 2), dtype=np.int8)
    with pytest.raises(UsageError, match="low <= high"):
        budget.worst(ones, 1, 0)
    with pytest.raises(UsageError, match="weights has type float64"):
        budget.worst(np.ones((1, 2)), 0, 1)
    with pytest.raises(UsageError, match="offset has type float64"):
        budget.worst(ones, 0, 1, 0.5)
    with pytest.raises(UsageError, match="wanted rows"):
        budget.worst(np.array(3), 0, 1)
    with pytest.raises(UsageError, match="several zero points"):
        budget.accumulator(ones, Affine(scale=[1.0, 1.0], zero_point=[0, 1], axis=0))
