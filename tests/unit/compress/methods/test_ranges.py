"""Methods that round to nearest and differ in the ranges: output, awq, hqq; and auto over them."""

from __future__ import annotations

import numpy as np
import pytest

from intact.compress.methods import Problem, Rounded, auto, awq, descent, hqq, nearest, output, output_error
from intact.compress.space import Space


def posed(bits: int, group: int, gram: bool = True) -> Problem:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(400, 64)) @ draws.normal(size=(64, 64)) * np.geomspace(1, 30, 64)
    half = 2 ** (bits - 1)
    space = Space(levels=np.arange(-half, half), group=group, power_of_two=False, floor=np.zeros(24))
    weights = draws.standard_t(3, size=(24, 64))
    return Problem(weights=weights, gram=x.T @ x / 400 if gram else None, space=space, generator=draws)


@pytest.mark.parametrize("way", [output, awq, hqq])
@pytest.mark.parametrize("gram", [False, True])
def test_every_weight_is_at_the_level_nearest_to_it(way: object, gram: bool) -> None:
    problem = posed(4, 16, gram)
    answer: Rounded = way.solve(problem)  # type: ignore[attr-defined]
    scales = answer.grid.column_scales(64)
    np.testing.assert_array_equal(answer.levels, answer.grid.nearest(problem.weights, scales))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group", [0, 16])
def test_output_has_less_output_error_than_nearest(bits: int, group: int) -> None:
    problem = posed(bits, group)
    found, plain = (output_error(problem, way.solve(problem)).sum() for way in (output, nearest))
    assert found < plain * 0.95


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_awq_has_less_output_error_than_nearest_where_columns_differ(bits: int) -> None:
    problem = posed(bits, 0)
    found, plain = (output_error(problem, way.solve(problem)).sum() for way in (awq, nearest))
    assert found < plain


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_hqq_lets_few_weights_go_far_for_the_many(bits: int) -> None:
    problem = posed(bits, 0)
    found, plain = (np.abs(problem.weights - way.solve(problem).values) for way in (hqq, nearest))
    assert (found**hqq.NORM).sum() < (plain**hqq.NORM).sum()
    assert np.median(found) < np.median(plain)
    assert np.square(found).sum() > np.square(plain).sum()


def test_hqq_looks_at_no_inputs() -> None:
    first, second = hqq.solve(posed(4, 16, gram=True)), hqq.solve(posed(4, 16, gram=False))
    np.testing.assert_array_equal(first.levels, second.levels)


@pytest.mark.parametrize("gram", [False, True])
def test_auto_is_as_good_as_each_of_its_ways_in_every_row(gram: bool) -> None:
    problem = posed(3, 16, gram)
    found = output_error(problem, auto.solve(problem))
    for way in (nearest, hqq, output, descent):
        assert (found <= output_error(problem, way.solve(problem)) * (1 + 1e-9)).all()
