from __future__ import annotations

import time

import numpy as np
import pytest

from intact.compress.methods import Problem, Rounded, gptq, nearest, output_error
from intact.compress.space import Space


def posed(weights: np.ndarray, gram: np.ndarray | None, bits: int = 4, group: int = 0) -> Problem:
    half = 2 ** (bits - 1)
    space = Space(levels=np.arange(-half, half), group=group, power_of_two=False, floor=np.zeros(len(weights)))
    return Problem(weights=weights, gram=gram, space=space, generator=np.random.default_rng(0))


def moments(columns: int) -> np.ndarray:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(2 * columns, columns)) @ draws.normal(size=(columns, columns))
    return x.T @ x / len(x)


def same(first: Rounded, second: Rounded) -> None:
    np.testing.assert_array_equal(first.levels, second.levels)
    np.testing.assert_array_equal(first.grid.scale, second.grid.scale)


@pytest.mark.parametrize("bits", [2, 4, 7])
@pytest.mark.parametrize("group", [0, 16])
def test_inputs_that_do_not_hang_together_leave_nearest(bits: int, group: int) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 50))
    same(gptq.solve(posed(weights, np.eye(50), bits, group)), nearest.solve(posed(weights, None, bits, group)))


def test_nothing_known_of_the_inputs_leaves_nearest() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 50))
    same(gptq.solve(posed(weights, None)), nearest.solve(posed(weights, None)))


@pytest.mark.parametrize(("bits", "share"), [(2, 0.8), (3, 0.7), (4, 0.5), (7, 0.5)])
def test_far_less_output_error_than_nearest_where_inputs_hang_together(bits: int, share: float) -> None:
    problem = posed(np.random.default_rng(0).normal(size=(32, 64)), moments(64), bits)
    found, plain = (output_error(problem, way.solve(problem)).sum() for way in (gptq, nearest))
    assert found < plain * share


def test_a_pruned_weights_error_is_made_up_for_by_those_after_it() -> None:
    problem = posed(np.random.default_rng(0).normal(size=(32, 64)), moments(64))
    keep = np.random.default_rng(1).random((32, 64)) < 0.7
    pruned = Problem(
        weights=problem.weights, gram=problem.gram, space=problem.space, generator=problem.generator, keep=keep
    )
    found, plain = (output_error(pruned, way.solve(pruned)).sum() for way in (gptq, nearest))
    assert found < plain * 0.8


def test_a_repaired_gram_is_told_of() -> None:
    gram = np.eye(8)
    gram[0, 1] = gram[1, 0] = 1.05
    weights = np.random.default_rng(0).normal(size=(2, 8))
    assert "damping raised to 0.1" in gptq.solve(posed(weights, gram)).note
    assert gptq.solve(posed(weights, np.eye(8))).note == ""


def test_a_layer_of_a_transformer_takes_seconds_at_most() -> None:
    problem = posed(np.random.default_rng(0).normal(size=(384, 768)), moments(768), group=32)
    start = time.process_time()
    gptq.solve(problem)
    assert time.process_time() - start < 10  # takes about 0.2; far above, so that a busy host does not fail it
