import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intact.errors import UsageError
from intact.numbers import dyadic

positive = st.floats(1e-300, 1e300)


@given(positive)
@example(1.0)
@example(math.sqrt(2.0))
@example(math.nextafter(math.sqrt(2.0), 2))
def test_exponents_bracket_the_scale(scale: float) -> None:
    exact = Fraction(scale)
    below, above = int(dyadic.exponent_floor(scale)), int(dyadic.exponent_ceil(scale))
    near = int(dyadic.exponent_nearest(scale))
    assert Fraction(2) ** below <= exact < Fraction(2) ** (below + 1)
    assert Fraction(2) ** (above - 1) < exact <= Fraction(2) ** above
    # log2(scale) - below < 1/2 exactly when (scale / 2^below)^2 < 2
    assert near == below + ((exact / Fraction(2) ** below) ** 2 > 2)


@given(positive)
def test_split_is_exact(scale: float) -> None:
    parts = dyadic.split(scale)
    assert 1 <= float(parts.significand) < 2
    assert Fraction(float(parts.significand)) * Fraction(2) ** int(parts.exponent) == Fraction(scale)


@given(st.integers(-1000, 1000))
def test_exponent_undoes_the_power(k: int) -> None:
    assert dyadic.exponent(math.ldexp(1.0, k)) == k
    assert dyadic.is_power_of_two(math.ldexp(1.0, k))


def test_what_is_no_power_of_two_is_named_so() -> None:
    assert dyadic.is_power_of_two([0.25, 3.0, 1.0]).tolist() == [True, False, True]
    with pytest.raises(UsageError, match="not a power of two"):
        dyadic.exponent([0.25, 3.0])


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_that_are_none_are_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="zero, negative or not finite"):
        dyadic.split([1.0, scale])


@given(
    low=st.floats(-1e20, 0),
    high=st.floats(0, 1e20),
    lowest=st.integers(-255, -1),
    highest=st.integers(1, 255),
    smallest=st.integers(-60, 10),
)
def test_covering_is_enough_and_no_more(low: float, high: float, lowest: int, highest: int, smallest: int) -> None:
    def covers(k: int) -> bool:
        step = Fraction(2) ** k
        return lowest * step <= Fraction(low) and Fraction(high) <= highest * step

    k = int(dyadic.exponent_covering(low, high, lowest, highest, smallest=smallest))
    assert covers(k)
    assert k == smallest or not covers(k - 1)


def test_covering_a_side_without_codes_is_refused() -> None:
    assert dyadic.exponent_covering(0.0, 4.0, 0, 255) == -5
    with pytest.raises(UsageError, match="no code"):
        dyadic.exponent_covering(-0.1, 4.0, 0, 255)
    with pytest.raises(UsageError, match="NaN or an infinity"):
        dyadic.exponent_covering(0.0, math.inf, 0, 255)


def requantized(accumulator: int, shift: int, zero: int, qmin: int, qmax: int) -> int:
    """Say the same with rational numbers; Python rounds fractions half to even."""
    return min(max(round(Fraction(accumulator) / Fraction(2) ** shift) + zero, qmin), qmax)


@given(
    accumulators=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**24), 2**24), min_size=1),
    shift=st.integers(*dyadic.SHIFT_RANGE),
    zero=st.integers(-128, 255),
)
def test_requantize_is_round_half_even_of_the_exact_quotient(accumulators: list[int], shift: int, zero: int) -> None:
    for qmin, qmax in ((0, 255), (-128, 127), (-(2**24), 2**24)):
        got = dyadic.requantize(np.array(accumulators), shift, zero, qmin, qmax)
        assert got.dtype == np.int64
        assert got.tolist() == [requantized(value, shift, zero, qmin, qmax) for value in accumulators]


def test_every_tie_goes_to_even() -> None:
    halves = np.arange(-9, 10, 2)
    assert dyadic.requantize(halves, 1, 0, -99, 99).tolist() == [-4, -4, -2, -2, 0, 0, 2, 2, 4, 4]


def test_shifts_may_differ_by_channel() -> None:
    got = dyadic.requantize(np.full((2, 3), 96), np.array([[5], [6]]), 128, 0, 255)
    assert got.tolist() == [[131] * 3, [130] * 3]


@pytest.mark.parametrize("shift", [-31, 63])
def test_shifts_out_of_range_are_refused(shift: int) -> None:
    with pytest.raises(UsageError, match="outside -30 to 62"):
        dyadic.requantize(np.zeros(1, dtype=np.int64), shift, 0, 0, 255)


def test_codes_out_of_range_are_refused() -> None:
    for zero, qmin, qmax in ((0, 255, 0), (2**30, 0, 255), (0, -(2**30), 0)):
        with pytest.raises(UsageError, match="empty or reach"):
            dyadic.requantize(np.zeros(1, dtype=np.int64), 1, zero, qmin, qmax)


def test_only_integers_are_requantized() -> None:
    with pytest.raises(UsageError, match="wanted int64"):
        dyadic.requantize(np.zeros(1), 1, 0, 0, 255)
