"""Small arrays and thresholds: what the contract is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.errors import IntegrityError, UsageError
from intact.guard import default_modes, read_modes
from intact.guard.arrays import pack, pack_codes, unpack, unpack_codes
from intact.guard.modes import settle
from intact.guard.normality import shapiro_wilk
from intact.guard.threshold import threshold


def arrays() -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=9)
    return hnp.arrays(np.float64, shapes, elements=st.floats(-1e4, 1e4))


@settings(max_examples=80, deadline=None)
@given(values=arrays())
def test_a_packed_array_comes_back_within_half_a_step(values: np.ndarray) -> None:
    back = unpack(pack(values), (-1,) * values.ndim)
    step = (values.max() - values.min()) / 255
    assert back.shape == values.shape
    assert np.abs(back - values).max() <= 0.5 * step * 1.01 + 1e-3 * max(1.0, np.abs(values).max() * 1e-2)


@given(values=st.lists(st.integers(-32768, 32767), max_size=50))
def test_codes_come_back_as_they_were(values: list[int]) -> None:
    assert unpack_codes(pack_codes(np.asarray(values, np.float64))).tolist() == values


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2]},
        {"shape": [2, -3]},
        {"shape": [True, 3]},
        {"shape": "23"},
        {"shape": [1 << 20, 3]},
        {"low": None},
        {"low": True},
        {"low": float("inf")},
        {"step": -1.0},
        {"step": float("nan")},
        {"step": 1e308},
        {"data": 3},
        {"data": "AAAA"},
        {"data": "????????"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_array_is_refused(change: dict[str, Any]) -> None:
    record = pack(np.arange(6.0).reshape(2, 3))
    with pytest.raises(IntegrityError, match="contract cannot be read"):
        unpack({**record, **change}, (-1, -1))


def test_an_array_of_another_shape_than_wanted_is_refused() -> None:
    with pytest.raises(IntegrityError, match="shape"):
        unpack(pack(np.zeros((2, 3))), (2, 4))


# thresholds


@settings(max_examples=60, deadline=None)
@given(scores=hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6)), fpr=st.floats(0.001, 0.5))
def test_a_threshold_lets_through_as_many_as_it_says(scores: np.ndarray, fpr: float) -> None:
    found = threshold(scores, fpr)
    assert found is not None
    within = int((scores <= found.value).sum())
    assert within / (len(scores) + 1) >= 1 - found.fpr - 1e-6
    assert found.fpr <= max(fpr, 1 / (len(scores) + 1)) + 1e-6


def test_the_rate_holds_for_new_rows_whatever_their_distribution() -> None:
    random = np.random.default_rng(0)
    for draw in (random.standard_cauchy, random.exponential, random.normal):
        beyond = []
        for _ in range(400):
            found = threshold(draw(size=255), 0.01)
            assert found is not None
            beyond.append((draw(size=200) > found.value).mean())
        assert np.mean(beyond) <= 0.0125  # 0.01, and the noise of 80,000 draws


def test_too_few_rows_say_what_they_can_promise() -> None:
    found = threshold(np.arange(50.0), 0.01)
    assert found is not None
    assert found.value == 49.0
    assert found.fpr == pytest.approx(1 / 51, abs=1e-6)


def test_no_threshold_without_scores_or_where_they_are_not_finite() -> None:
    assert threshold(np.zeros(0), 0.01) is None
    assert threshold(np.full(200, np.inf), 0.01) is None


def test_a_threshold_is_rounded_up_so_that_no_score_can_be_read_from_it() -> None:
    tiny = threshold(np.full(200, 5e-324), 0.01)
    assert tiny is not None and 5e-324 <= tiny.value < 1e-100
    for value in (0.123456, -0.123456, 1234.5, -9.999, 3.0, 1e-9):
        found = threshold(np.full(200, value), 0.01)
        assert found is not None
        assert value <= found.value <= value + 0.011 * abs(value)
        assert float(f"{found.value:.3g}") == found.value


# the statistic of Shapiro and Wilk, against scipy's


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(6, 600), kind=st.sampled_from(["normal", "exponential", "uniform"]))
def test_w_is_scipys(seed: int, count: int, kind: str) -> None:
    values = getattr(np.random.default_rng(seed), kind)(size=count)
    assert shapiro_wilk(values) == pytest.approx(scipy.stats.shapiro(values).statistic, abs=2e-5)


def test_w_of_equal_values_is_one() -> None:
    assert shapiro_wilk(np.full(20, 3.0)) == 1.0


# modes


def test_by_default_shapes_and_finite_values_are_refused_and_the_rest_is_flagged() -> None:
    modes = default_modes()
    assert {name for name, mode in modes.items() if mode == "refuse"} == {"shape", "finite", "output_finite"}
    assert modes.pop("squeeze") == "off"  # it runs the model again
    assert set(modes.values()) == {"refuse", "flag"}


def test_modes_are_read_from_texts() -> None:
    assert read_modes(["range=refuse", "energy=off"]) == {"range": "refuse", "energy": "off"}
    assert settle({"range": "refuse"})["range"] == "refuse"


@pytest.mark.parametrize(
    "texts", [["range"], ["range=maybe"], ["rang=off"], ["range=off", "range=flag"], [""], ["=off"]]
)
def test_a_text_that_is_no_mode_is_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        read_modes(texts)
