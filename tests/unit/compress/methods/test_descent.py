from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intact.compress.methods import Problem, Rounded, descent, gptq, output_error
from intact.compress.quadratic import damped, factor, feed
from intact.compress.space import Space


def posed(bits: int, group: int, power_of_two: bool = False, seed: int = 0, keep: bool = False) -> Problem:
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(300, 70)) @ draws.normal(size=(70, 70))
    half = 2 ** (bits - 1)
    space = Space(levels=np.arange(-half, half), group=group, power_of_two=power_of_two, floor=np.zeros(24))
    kept = draws.random((24, 70)) < 0.6 if keep else None
    return Problem(
        weights=draws.standard_t(4, size=(24, 70)), gram=x.T @ x / 300, space=space, generator=draws, keep=kept
    )


@pytest.mark.parametrize("bits", [2, 3, 4, 7])
@pytest.mark.parametrize("group", [0, 16])
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_no_row_is_worse_than_its_start(bits: int, group: int, power_of_two: bool, keep: bool) -> None:
    problem = posed(bits, group, power_of_two, keep=keep)
    harder = replace(problem, gram=damped(problem.gram, descent.DAMPING))
    found = factor(problem.gram, descent.DAMPING)
    grid = problem.space.fit(problem.weights, found.importance)
    start = Rounded(levels=feed(problem.weights, found, grid, problem.keep), grid=grid)
    answer = output_error(harder, descent.solve(problem))
    assert (answer <= output_error(harder, start) * (1 + 1e-9)).all()
    assert answer.sum() < output_error(harder, start).sum() * 0.97


@pytest.mark.parametrize(("bits", "share"), [(2, 0.8), (3, 0.9), (4, 0.95)])
def test_clearly_better_than_gptq_alone_on_narrow_codes(bits: int, share: float) -> None:
    problem = posed(bits, 16, seed=1)
    found, alone = (output_error(problem, way.solve(problem)).sum() for way in (descent, gptq))
    assert found < alone * share


def test_a_repaired_gram_is_told_of() -> None:
    problem = posed(4, 0)
    gram = np.eye(70)
    gram[0, 1] = gram[1, 0] = 1.1
    assert "damping raised to" in descent.solve(replace(problem, gram=gram)).note
