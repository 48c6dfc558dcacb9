"""Multipliers of groups, against arithmetic in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.numbers.storage.multipliers import divide, divisors, expand, groups, multiply
from intact.numbers.storage.orientation import anchor, flips
from intact.numbers.storage.search import Choice, find
from support.stored import signs, times


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    factor = draw(st.sampled_from([1, 2, 5, 16]))
    values = st.integers(-(128 // factor), 127 // factor).map(lambda value: value * factor)
    flat = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
    return np.array(flat, np.int8).reshape(rows, columns), draw(st.integers(1, columns))


@given(matrices())
def test_divisors_are_the_greatest_common_ones(case: tuple[np.ndarray, int]) -> None:
    matrix, group = case
    found = divisors(matrix, group)
    assert found.shape == (len(matrix), groups(matrix.shape[1], group))
    for row, line in zip(matrix.tolist(), found.tolist(), strict=True):
        wanted = [math.gcd(*row[start : start + group]) or 1 for start in range(0, len(row), group)]
        assert line == wanted


@given(matrices(), st.integers(0, 3))
def test_quotients_times_divisors_are_the_matrix(case: tuple[np.ndarray, int], first: int) -> None:
    matrix, group = case
    shared = divisors(matrix, group)
    out = divide(matrix, shared, group)
    multiply(out, shared, 1, group, 0)
    assert np.array_equal(out.view(np.int8), matrix)
    turned = np.ascontiguousarray(divide(matrix, shared, group).T)
    part = turned[first:].copy()
    multiply(part, np.ascontiguousarray(shared.T), 0, group, first)
    assert np.array_equal(part.view(np.int8), matrix.T[first:])


@pytest.mark.parametrize(("group", "columns"), [(8, 32), (16, 16), (5, 12), (16, 40), (1, 9)])
def test_multipliers_are_spread_over_their_groups(group: int, columns: int) -> None:
    shared = np.random.default_rng(0).integers(0, 256, (3, groups(columns, group)), dtype=np.uint8)
    wanted = [[line[place // group] for place in range(columns)] for line in shared.tolist()]
    assert expand(shared, group, columns).tolist() == wanted


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("group", [16, 32, 64, 128, 24, 100, 240])
def test_the_group_a_matrix_was_made_with_is_found(axis: int, group: int) -> None:
    rng = np.random.default_rng(group)
    made = rng.integers(-7, 8, (200, 240)) * times(rng, (200, groups(240, group)), group)[:, :240]
    matrix = made.astype(np.int8) if axis else np.ascontiguousarray(made.T).astype(np.int8)
    found = find(matrix)
    if group == 100:  # neither a divisor nor a power of two: something close does
        assert found is not None
    else:
        assert found == Choice(axis=axis, group=group, common=True, anchor=None)


@pytest.mark.parametrize("dtype", ["i1", "u1"])
def test_nothing_is_found_in_noise(dtype: str) -> None:
    assert find(np.random.default_rng(0).integers(0, 256, (99, 99)).astype(dtype)) is None


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), group=st.sampled_from([16, 32, 75]))
def test_signs_of_groups_are_told_apart(seed: int, group: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.array([-100, -61, -40, -22, -9, 0, 5, 13, 31, 50, 80, 120])
    sides = signs(rng, (60, groups(300, group)), group)[:, :300]
    matrix = (rng.choice(levels, (60, 300)) * sides).astype(np.int8)
    value = anchor(matrix, group)
    assert value is not None
    turned = np.where(np.repeat(flips(matrix, group, value), group, axis=1)[:, :300], -matrix, matrix)
    assert len(np.unique(turned)) == len(levels)


def test_symmetric_levels_have_no_anchor() -> None:
    assert anchor(np.random.default_rng(0).integers(-7, 8, (50, 320)).astype(np.int8), 64) is None
