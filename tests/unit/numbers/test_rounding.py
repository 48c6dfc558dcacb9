import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import UsageError
from intact.numbers.rounding import Rounding, rounded

HALF = Fraction(1, 2)
DETERMINISTIC = [rule for rule in Rounding if rule is not Rounding.STOCHASTIC]
ORACLES = {
    Rounding.FLOOR: math.floor,
    Rounding.HALF_EVEN: round,
    Rounding.HALF_UP: lambda x: math.floor(x + HALF),
    Rounding.HALF_AWAY: lambda x: math.floor(abs(x) + HALF) * (1 if x >= 0 else -1),
}
# ties, their neighbours, and the magnitudes at which floats run out of fractions
HARD = [
    sign * value
    for base in (
        0.0,
        0.5,
        1.0,
        1.5,
        2.5,
        127.5,
        2.0**23 - 0.5,
        2.0**51 + 0.5,
        2.0**52 - 0.5,
        2.0**52 + 1,
        2.0**53,
        1e300,
    )
    for value in (base, math.nextafter(base, -math.inf), math.nextafter(base, math.inf))
    for sign in (1, -1)
]


@pytest.mark.parametrize("rule", DETERMINISTIC)
def test_hard_values_are_exact(rule: Rounding) -> None:
    got = rounded(np.array(HARD), rule)
    assert [int(value) for value in got] == [ORACLES[rule](Fraction(x)) for x in HARD]


@pytest.mark.parametrize("rule", DETERMINISTIC)
@given(x=st.floats(allow_nan=False, allow_infinity=False))
def test_float64_is_exact(rule: Rounding, x: float) -> None:
    assert int(rounded(np.array([x]), rule)[0]) == ORACLES[rule](Fraction(x))


@pytest.mark.parametrize("rule", DETERMINISTIC)
@given(x=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_is_exact_and_stays_float32(rule: Rounding, x: float) -> None:
    got = rounded(np.array([x], dtype=np.float32), rule)
    assert got.dtype == np.float32
    assert int(got[0]) == ORACLES[rule](Fraction(x))


@given(x=st.floats(min_value=-(2.0**52), max_value=2.0**52), seed=st.integers(0, 2**32))
def test_stochastic_goes_to_a_neighbour_and_keeps_integers(x: float, seed: int) -> None:
    got = rounded(np.array([x]), Rounding.STOCHASTIC, np.random.default_rng(seed))[0]
    assert got in (math.floor(x), math.ceil(x))


def test_stochastic_has_the_value_as_its_mean() -> None:
    draws = rounded(np.full(100_000, -2.3), Rounding.STOCHASTIC, np.random.default_rng(0))
    assert set(draws) == {-3.0, -2.0}
    assert abs(draws.mean() + 2.3) < 5 * math.sqrt(0.21 / len(draws))


def test_stochastic_follows_its_generator() -> None:
    x = np.linspace(-1, 1, 50)
    first, again = (rounded(x, Rounding.STOCHASTIC, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_generator_is_wanted_exactly_by_the_stochastic_rule() -> None:
    with pytest.raises(UsageError, match="needs a generator"):
        rounded(np.zeros(1), Rounding.STOCHASTIC)
    with pytest.raises(UsageError, match="draws no random numbers"):
        rounded(np.zeros(1), Rounding.FLOOR, np.random.default_rng(0))
