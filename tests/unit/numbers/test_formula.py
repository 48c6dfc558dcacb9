import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from intact.errors import DataError, UsageError
from intact.numbers.formula import Formula, Interval, Overflow

UNIT = Interval(low=0.0, high=1.0)
# the mission's own example
PLAIN = Formula(scale=256, offset=128, modulus=256, overflow=Overflow.WRAP)

scales = st.floats(2.0**-30, 2.0**30)
offsets = st.floats(-(2.0**20), 2.0**20)
moduli = st.integers(2, 2**40)


def exact(formula: Formula, x: float) -> int:
    return math.floor(Fraction(formula.scale) * Fraction(x) + Fraction(formula.offset))


def test_the_formula_as_written() -> None:
    assert PLAIN.apply([0.0, 0.25, 0.4999, 0.5, 0.75]).tolist() == [128, 192, 255, 0, 64]


def test_the_three_overflows() -> None:
    x = [-1.0, 0.0, 1.0]
    plain = {"scale": 300, "offset": 0, "modulus": 256}
    assert Formula(**plain, overflow=Overflow.SATURATE).apply(x).tolist() == [0, 0, 255]
    assert Formula(**plain, overflow=Overflow.WRAP).apply(x).tolist() == [-300 % 256, 0, 44]
    with pytest.raises(DataError, match="code -300 is outside 0 to 255"):
        Formula(**plain, overflow=Overflow.RAISE).apply(x)


def test_a_signed_window_reads_wrapped_codes_as_negative() -> None:
    ring = Formula(scale=2.0**16, offset=0.5, modulus=2**32, overflow=Overflow.WRAP, low=-(2**31))
    x = np.array([-1.5, 0.0, 3.25])
    assert ring.apply(x).tolist() == [-98304, 0, 212992]
    assert np.array_equal(ring.invert(ring.apply(x)).value, x)


@given(scale=scales, offset=offsets, x=st.floats(-1e6, 1e6), modulus=moduli)
@example(scale=128, offset=128, x=1 - 2.0**-53, modulus=256)  # float64 rounds C*x + d up to 256
@example(scale=1.0, offset=1.0, x=-1e-300, modulus=2)
@example(scale=3.0, offset=0.0, x=1 / 3, modulus=4)  # fl(3 * fl(1/3)) is 1, the real product is below
def test_the_floor_is_that_of_the_real_number(scale: float, offset: float, x: float, modulus: int) -> None:
    wrapping = Formula(scale=scale, offset=offset, modulus=modulus, overflow=Overflow.WRAP)
    saturating = Formula(scale=scale, offset=offset, modulus=modulus, overflow=Overflow.SATURATE)
    whole = exact(wrapping, x)
    assume(abs(whole) < 2**52 - 1)
    assert wrapping.apply(x) == whole % modulus
    assert saturating.apply(x) == min(max(whole, 0), modulus - 1)


@given(scale=scales, offset=offsets, x=st.floats(allow_nan=False, allow_infinity=False))
def test_saturation_holds_for_every_finite_float(scale: float, offset: float, x: float) -> None:
    formula = Formula(scale=scale, offset=offset, modulus=256, overflow=Overflow.SATURATE)
    assert formula.apply(x) == min(max(exact(formula, x), 0), 255)


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(x: float) -> None:
    with pytest.raises(DataError, match="NaN or an infinity"):
        PLAIN.apply([0.0, x])


def test_a_wrap_beyond_exact_arithmetic_is_refused() -> None:
    with pytest.raises(DataError, match="less than 2\\^52"):
        PLAIN.apply(1e300)


@given(
    scale=scales,
    offset=offsets,
    modulus=st.integers(2, 2**20),
    low=st.integers(-(2**20), 2**20),
    share=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    overflow=st.sampled_from(Overflow),
)
def test_whatever_is_called_invertible_comes_back(
    scale: float, offset: float, modulus: int, low: int, share: list[float], overflow: Overflow
) -> None:
    formula = Formula(scale=scale, offset=offset, modulus=modulus, overflow=overflow, low=low)
    domain = Interval(low=(low - offset) / scale, high=(low + modulus - offset) / scale)
    assume(formula.invertible(domain))
    x = np.clip(
        domain.low + np.array(share) * (domain.high - domain.low), domain.low, np.nextafter(domain.high, -1e300)
    )
    back = formula.invert(formula.apply(x))
    slack = np.abs(x) * 2.0**-50 + abs(offset / scale) * 2.0**-50
    assert (np.abs(x - back.value) <= back.error + slack).all()
    assert ((back.low <= x + slack) & (x <= back.high + slack)).all()


def test_saturated_ends_are_unbounded() -> None:
    back = Formula(scale=1, offset=0, modulus=4, overflow=Overflow.SATURATE).invert([0, 1, 3])
    assert back.low.tolist() == [-math.inf, 1, 3]
    assert back.high.tolist() == [1, 2, math.inf]
    assert back.value.tolist() == [0.5, 1.5, 3.5]


def test_a_code_outside_the_window_is_refused() -> None:
    with pytest.raises(DataError, match="code 256 is outside 0 to 255"):
        PLAIN.invert([1, 256])


def test_the_missions_example_is_refused_with_a_scale_that_works() -> None:
    # half of the range comes back wrong by p/C = 1
    x = np.array([0.25, 0.75])
    assert (x - PLAIN.invert(PLAIN.apply(x)).value).round().tolist() == [0, 1]
    with pytest.raises(UsageError, match="integers 128 to 383, but the codes are 0 to 255") as refusal:
        PLAIN.require_invertible(UNIT)
    assert refusal.value.hint == "choose C = 128.0 with this d"
    works = Formula(scale=128.0, offset=128, modulus=256, overflow=Overflow.WRAP)
    works.require_invertible(UNIT)
    grid = np.append(np.arange(100_000) / 100_000, np.nextafter(1.0, 0.0))
    back = works.invert(works.apply(grid))
    assert np.abs(grid - back.value).max() <= back.error == 1 / 256


def test_without_the_offset_the_missions_scale_works() -> None:
    Formula(scale=256, offset=0, modulus=256, overflow=Overflow.WRAP).require_invertible(UNIT)


def test_closing_the_missions_domain_makes_two_values_share_a_code() -> None:
    assert PLAIN.apply(0.0) == PLAIN.apply(1.0)


def test_an_offset_with_no_scale_says_so() -> None:
    with pytest.raises(UsageError) as refusal:
        Formula(scale=1, offset=300, modulus=256, overflow=Overflow.WRAP).require_invertible(UNIT)
    assert refusal.value.hint == "no C works with d=300; choose d in the middle, 128"


@given(
    scale=scales,
    offset=st.floats(-1000, 1000),
    modulus=st.integers(2, 2**20),
    start=st.floats(-1000, 1000),
    width=st.floats(0.001, 1000),
)
def test_the_suggested_scale_works_and_is_the_largest(
    scale: float, offset: float, modulus: int, start: float, width: float
) -> None:
    def with_scale(value: float) -> Formula:
        return Formula(scale=value, offset=offset, modulus=modulus, overflow=Overflow.WRAP)

    domain = Interval(low=start, high=start + width)
    suggestion = with_scale(scale).largest_scale(domain)
    if suggestion is None:
        assert not with_scale(scale).invertible(domain)
        middle = Formula(scale=scale, offset=modulus // 2, modulus=modulus, overflow=Overflow.WRAP)
        assert middle.largest_scale(domain) is not None
        return
    works = with_scale(suggestion)
    assert works.invertible(domain)
    assert not with_scale(math.nextafter(suggestion, math.inf)).invertible(domain)
    x = np.append(np.linspace(start, start + width, 50)[:-1], np.nextafter(domain.high, -math.inf))
    assert [exact(works, value) for value in x] == works.apply(x).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": math.nan},
        {"scale": math.inf},
        {"offset": math.nan},
        {"offset": 2.0**52},
        {"modulus": 1},
        {"modulus": 2**63},
        {"low": 2**63},
        {"modulus": 2**60, "overflow": Overflow.SATURATE},
    ],
)
def test_parameters_out_of_range_are_refused(change: dict[str, object]) -> None:
    good: dict[str, object] = {"scale": 1.0, "offset": 0.0, "modulus": 256, "overflow": Overflow.WRAP}
    with pytest.raises(UsageError):
        Formula(**{**good, **change})


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_an_interval_is_finite_and_not_empty(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="empty or not finite"):
        Interval(low=low, high=high)
