import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import DataError, UsageError
from intact.numbers.affine import Codes, dequantize, formula, quantize
from intact.numbers.encoding import Affine
from intact.numbers.rounding import Rounding

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def per_tensor(draw: st.DrawFn, power_of_two: bool = False) -> Affine:
    signed, bits = draw(st.booleans()), draw(st.integers(2, 8))
    frame = Affine(scale=1.0, signed=signed, bits=bits)
    scale = (
        math.ldexp(1.0, draw(st.integers(-20, 20))) if power_of_two else draw(st.floats(2.0**-20, 2.0**20, width=32))
    )
    return Affine(scale=scale, zero_point=draw(st.integers(frame.qmin, frame.qmax)), signed=signed, bits=bits)


@given(x=st.lists(singles, min_size=1), encoding=per_tensor())
def test_error_is_at_most_half_a_step_inside_the_range(x: list[float], encoding: Affine) -> None:
    values = np.array(x, dtype=np.float32)
    step, zero = float(encoding.scale), int(encoding.zero_point)
    inside = np.clip(values, (encoding.qmin - zero) * step, (encoding.qmax - zero) * step)
    back = dequantize(quantize(inside, encoding)).astype(np.float64)
    assert (np.abs(back - inside) <= step * (0.5 + 1e-4)).all()


@given(x=singles, encoding=per_tensor(power_of_two=True))
def test_half_even_equals_rational_arithmetic(x: float, encoding: Affine) -> None:
    q = round(Fraction(x) / Fraction(float(encoding.scale))) + int(encoding.zero_point)
    assert quantize(x, encoding).q == min(max(q, encoding.qmin), encoding.qmax)


@given(x=st.lists(singles | st.integers(-600, 600).map(lambda n: n / 2), min_size=1), encoding=per_tensor(True))
def test_half_up_is_the_formula(x: list[float], encoding: Affine) -> None:
    values = np.array(x, dtype=np.float32) * (encoding.scale if max(map(abs, x)) <= 300 else np.float32(1))
    codes = quantize(values, encoding, Rounding.HALF_UP)
    assert np.array_equal(codes.q, formula(encoding).apply(values))


@given(x=singles, encoding=per_tensor())
def test_with_a_free_scale_it_is_the_formula_up_to_the_division(x: float, encoding: Affine) -> None:
    slack = abs(x) * 2.0**-22
    low, high = formula(encoding).apply([x - slack, x + slack])
    assert low <= quantize(x, encoding, Rounding.HALF_UP).q <= high


def test_stochastic_is_the_formula_with_a_random_offset() -> None:
    encoding = Affine(scale=0.25, zero_point=3)
    draws = np.random.default_rng(5).random(1000)
    codes = quantize(np.full(1000, 0.35), encoding, Rounding.STOCHASTIC, np.random.default_rng(5)).q
    # floor(x/s + z + u) with u = 1 - draw, uniform just as well
    assert np.array_equal(codes, np.floor(np.float32(0.35) / 0.25 + 3 + np.nextafter(1 - draws, 0)))
    assert set(codes) == {4, 5}


def test_values_beyond_the_range_saturate_even_where_the_division_overflows() -> None:
    encoding = Affine(scale=1e-6, zero_point=10)
    assert quantize([-3e38, 3e38], encoding).q.tolist() == [0, 255]
    for rule in (Rounding.FLOOR, Rounding.HALF_UP, Rounding.HALF_AWAY):
        assert quantize([-3e38, 3e38], encoding, rule).q.tolist() == [0, 255]


def test_channels_and_groups_have_their_own_scale_and_zero() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0]] * 2, dtype=np.float32)
    rows = Affine(scale=[1.0, 0.5], zero_point=[0, 10], axis=0)
    assert quantize(x, rows).q.tolist() == [[1, 2, 3, 4], [12, 14, 16, 18]]
    groups = Affine(scale=[[1.0, 2.0], [0.5, 4.0]], axis=1, group=2)
    assert quantize(x, groups).q.tolist() == [[1, 2, 2, 2], [2, 4, 1, 1]]
    for encoding in (rows, groups):
        assert np.abs(dequantize(quantize(x, encoding)) - x).max() <= encoding.scale.max() / 2


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf, 1e39])
def test_values_that_are_no_float32_are_refused(x: float) -> None:
    with pytest.raises(DataError, match="NaN, an infinity"):
        quantize([0.0, x], Affine(scale=1.0))


def test_an_empty_tensor_has_empty_codes() -> None:
    assert quantize(np.zeros((0, 3), dtype=np.float32), Affine(scale=1.0)).q.shape == (0, 3)


def test_dequantize_rounds_once_and_is_float32() -> None:
    encoding = Affine(scale=0.1, zero_point=5)
    back = dequantize(quantize([0.1, 0.2, 0.3], encoding))
    assert back.dtype == np.float32
    assert back.tolist() == [float(np.float32(n * Fraction(float(encoding.scale)))) for n in (1, 2, 3)]


def test_centred_codes_do_not_overflow() -> None:
    codes = Codes(q=np.array([-128, 127], dtype=np.int8), encoding=Affine(scale=1.0, signed=True, zero_point=127))
    assert codes.centred.tolist() == [-255, 0]


def test_codes_that_do_not_fit_their_encoding_are_refused() -> None:
    with pytest.raises(UsageError, match="have type int64"):
        Codes(q=np.array([1]), encoding=Affine(scale=1.0))
    with pytest.raises(UsageError, match="leave the range 0 to 15"):
        Codes(q=np.array([16], dtype=np.uint8), encoding=Affine(scale=1.0, bits=4))
    with pytest.raises(UsageError, match="leave the range -127 to 127"):
        Codes(q=np.array([-128], dtype=np.int8), encoding=Affine(scale=1.0, signed=True, narrow=True))
    with pytest.raises(UsageError, match="has 2 channels"):
        Codes(q=np.zeros(3, dtype=np.uint8), encoding=Affine(scale=[1.0, 1.0], axis=0))


def test_a_formula_per_channel_is_refused() -> None:
    with pytest.raises(UsageError, match="one formula per channel"):
        formula(Affine(scale=[1.0, 2.0], axis=0))
