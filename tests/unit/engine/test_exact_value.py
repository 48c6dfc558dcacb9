"""Exact values and their rounding, against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.exact.arith import carrier, plus, whole
from intact.engine.exact.codes import FAR, power_of_two, round_half_even
from intact.engine.exact.value import (
    Exact,
    InexactError,
    align,
    common,
    constant,
    divide,
    from_float,
    over,
    rescale,
    to_float32,
)

mantissas = st.integers(-(2**61), 2**61)


def real(value: Exact) -> list[Fraction]:
    exponents = np.broadcast_to(value.exponent, value.mantissa.shape).ravel()
    pairs = zip(value.mantissa.ravel(), exponents, strict=True)
    return [Fraction(int(m)) * Fraction(2) ** int(e) / value.divisor for m, e in pairs]


@given(mantissa=mantissas, shift=st.integers(-70, 70), divisor=st.sampled_from([1, 3, 9, 49]))
def test_rounding_is_half_to_even_of_the_quotient(mantissa, shift, divisor):
    exact = Fraction(mantissa, divisor) / Fraction(2) ** shift
    wanted = min(max(round(exact), -FAR), FAR)
    try:
        found = int(round_half_even(np.array([mantissa]), np.array(shift), divisor)[0])
    except InexactError:
        assert divisor != 1 and (shift > 55 or abs(mantissa) * 2.0 ** max(-shift, 0) >= 2**60)
        return
    assert found == wanted or (abs(exact) > FAR and found * wanted > 0 and abs(found) >= FAR)


def test_rounding_of_every_tie_around_zero():
    mantissa = np.arange(-64, 65)
    for shift in range(7):
        wanted = [round(Fraction(int(m), 2**shift)) for m in mantissa]
        assert round_half_even(mantissa, np.array(shift)).tolist() == wanted


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_constant_is_taken_as_it_is(x):
    value = from_float(np.array([x], np.float32))
    assert real(value) == [Fraction(x)]
    assert to_float32(value)[0] == np.float32(x)


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf])
def test_a_constant_that_is_no_number_is_refused(x):
    with pytest.raises(InexactError, match="not finite"):
        from_float(np.array([x], np.float32))


@given(a=st.integers(-(2**30), 2**30), b=st.integers(-(2**30), 2**30), ea=st.integers(-9, 9), eb=st.integers(-9, 9))
def test_sums_are_exact_across_exponents(a, b, ea, eb):
    total = plus(constant(np.array([a]), ea), constant(np.array([b]), eb))
    assert real(total) == [Fraction(a) * Fraction(2) ** ea + Fraction(b) * Fraction(2) ** eb]
    assert abs(int(total.mantissa[0])) <= int(total.bound[0])


def test_sums_of_quotients_are_exact():
    total = plus(divide(constant(np.array([7])), 12), divide(constant(np.array([5])), 9))
    assert real(total) == [Fraction(7, 12) + Fraction(5, 9)]


def test_what_does_not_fit_is_refused_not_wrapped():
    large = constant(np.array([2**61]))
    with pytest.raises(InexactError, match="62 bits"):
        plus(large, large)
    with pytest.raises(InexactError, match="62 bits"):
        common([large, constant(np.array([1]), -5)])
    with pytest.raises(InexactError, match="62 bits"):
        over(large, 3)


def test_zero_takes_any_exponent_without_overflow():
    assert real(rescale(from_float(np.zeros(1, np.float32)), np.array(-100))) == [0]


def test_aligning_keeps_values():
    value = constant(np.arange(1, 7).reshape(2, 3), np.array([[0], [-4]]))
    for axes in (None, (0,), (1,), (0, 1)):
        aligned = align(value, axes)
        assert real(aligned) == real(value)
    assert align(value).exponent.ndim == 0


def test_powers_of_two_are_told_from_other_scales():
    assert power_of_two(np.array([1, 0.5, 2.0**-140], np.float32)).tolist() == [0, -1, -140]
    for scale in (0.0, -0.5, 3.0, np.nan, np.inf):
        assert power_of_two(np.array([1, scale], np.float32)) is None


def test_the_carrier_is_the_narrowest_that_is_exact():
    assert carrier(2**24 - 1) == np.float32
    assert carrier(2**24) == np.float64
    assert carrier(2**53 - 1) == np.float64
    assert carrier(2**53) == np.int64


def test_a_bound_computed_in_floats_is_never_too_small():
    exact = sum(3**k for k in range(36))
    assert int(whole(np.array(float(exact)))) >= exact
    assert int(whole(np.array(16777215.0))) == 16777215


def test_float32_is_exact_below_24_bits_and_nearest_above():
    value = constant(np.array([2**24 - 1, -(2**24) + 1]), -30)
    assert [Fraction(float(x)) for x in to_float32(value)] == real(value)
    assert to_float32(constant(np.array([2**24 + 1])))[0] == np.float32(2**24)
    assert to_float32(divide(constant(np.array([1])), 3))[0] == np.float32(1) / np.float32(3)
