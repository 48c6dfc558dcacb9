"""Every rounding method found in the folder keeps the contract of `Method`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intact.compress import methods
from intact.compress.methods import Problem, Rounded, best, method, output_error
from intact.compress.methods.nearest import METHOD as NEAREST
from intact.compress.shapes import shape
from intact.compress.space import Space
from intact.errors import DataError, ModelError, UsageError

METHODS = methods.methods()
NEVER_WORSE_THAN_NEAREST = ("output", "adaround", "auto")


def posed(
    weights: np.ndarray,
    gram: np.ndarray | None = None,
    *,
    bits: int = 4,
    group: int = 0,
    codes: str = "uniform",
    power_of_two: bool = False,
    keep: np.ndarray | None = None,
    seed: int = 0,
) -> Problem:
    weights = np.asarray(weights, np.float64)
    levels = shape(codes).levels(weights, bits, None)
    space = Space(levels=levels, group=group, power_of_two=power_of_two, floor=np.zeros(len(weights)))
    return Problem(weights=weights, gram=gram, space=space, generator=np.random.default_rng(seed), keep=keep)


def moments(columns: int, samples: int | None = None, seed: int = 0) -> np.ndarray:
    """Second moments of correlated inputs; singular where there are fewer samples than columns."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(samples or 4 * columns, columns)) @ draws.normal(size=(columns, columns))
    return x.T @ x / len(x)


def normal(rows: int, columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def check(problem: Problem, answer: Rounded) -> None:
    grid, space = answer.grid, problem.space
    rows, columns = problem.weights.shape
    group = space.group or columns
    assert answer.levels.shape == (rows, columns)
    assert answer.levels.dtype == np.int64
    assert np.isin(answer.levels, grid.levels).all()
    np.testing.assert_array_equal(grid.levels, space.levels)
    assert grid.group == group
    assert grid.multipliers.shape == (rows, -(-columns // group))
    assert grid.multipliers.dtype == np.int64
    assert grid.unit.shape == (rows,)
    assert np.isfinite(grid.unit).all()
    assert (grid.unit >= space.least_unit).all()
    assert ((np.abs(grid.multipliers) >= 1) & (np.abs(grid.multipliers) <= space.most)).all()
    if space.power_of_two:
        assert (np.frexp(grid.unit)[0] == 0.5).all()
    integers = grid.integers(answer.levels)
    assert np.abs(integers.astype(int)).max(initial=0) <= 127
    np.testing.assert_allclose(integers * grid.unit[:, None], answer.values, rtol=1e-12)
    if problem.keep is not None:
        assert not answer.levels[~problem.keep].any()


def test_every_file_is_a_method_of_its_name() -> None:
    files = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(METHODS) == files
    assert all(METHODS[name].name == name for name in files)


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'gptqq'") as refused:
        method("gptqq")
    assert all(name in str(refused.value.hint) for name in METHODS)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    weights = draw(hnp.arrays(np.float32, (rows, columns), elements=st.floats(-100, 100, width=32)))
    samples = draw(st.sampled_from([None, 1, columns, 4 * columns]))
    return posed(
        weights,
        None if samples is None else moments(columns, samples, draw(st.integers(0, 9))),
        bits=draw(st.integers(2, 8)),
        group=draw(st.sampled_from([0, 1, 5, 16])),
        codes=draw(st.sampled_from(["uniform", "nf4"])),
        power_of_two=draw(st.booleans()),
        keep=draw(st.none() | hnp.arrays(bool, (rows, columns))),
    )


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(problem=problems())
def test_levels_lie_on_a_grid_of_the_space(name: str, problem: Problem) -> None:
    check(problem, METHODS[name].solve(problem))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("gram", [None, moments(33)], ids=["data-free", "gram"])
def test_the_same_seed_gives_the_same_answer(name: str, gram: np.ndarray | None) -> None:
    first, second = (METHODS[name].solve(posed(normal(8, 33), gram, group=8, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(first.levels, second.levels)
    np.testing.assert_array_equal(first.grid.unit, second.grid.unit)
    np.testing.assert_array_equal(first.grid.multipliers, second.grid.multipliers)


@pytest.mark.parametrize("name", METHODS)
def test_the_problem_is_left_as_it_was(name: str) -> None:
    problem = posed(normal(4, 20), moments(20), group=8, keep=normal(4, 20, 3) > 0)
    weights, gram, keep = problem.weights.copy(), moments(20), normal(4, 20, 3) > 0
    METHODS[name].solve(problem)
    np.testing.assert_array_equal(problem.weights, weights)
    np.testing.assert_array_equal(problem.gram, gram)
    np.testing.assert_array_equal(problem.keep, keep)


@pytest.mark.parametrize("name", METHODS)
def test_weights_on_the_grid_stay_where_they_are(name: str) -> None:
    codes = np.arange(-127, 128)[None]
    problem = posed(codes * 2.0**-9, np.eye(255), bits=8, power_of_two=True)
    answer = METHODS[name].solve(problem)
    np.testing.assert_array_equal(answer.values, problem.weights)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("gram", [None, moments(24), np.zeros((24, 24))], ids=["data-free", "gram", "unexcited"])
def test_odd_layers(name: str, power_of_two: bool, gram: np.ndarray | None) -> None:
    weights = normal(6, 24)
    weights[0] = 0.0
    weights[1] = 0.25
    weights[2, 3] = 1e6
    weights[3] *= 1e-30
    weights[4, :] = -weights[4, 0]
    problem = posed(weights, gram, group=9, power_of_two=power_of_two)
    answer = METHODS[name].solve(problem)
    check(problem, answer)
    assert not answer.levels[0].any()
    assert np.isfinite(answer.values).all()
    np.testing.assert_allclose(answer.values[2, 3], 1e6, rtol=0.5)


@pytest.mark.parametrize("name", METHODS)
def test_one_weight_alone_is_nearly_kept(name: str) -> None:
    answer = METHODS[name].solve(posed([[-0.3]], np.array([[2.0]]), bits=8))
    np.testing.assert_allclose(answer.values, [[-0.3]], rtol=0.01)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_with_nothing_to_keep_is_all_zero(name: str) -> None:
    keep = np.ones((3, 16), bool)
    keep[1] = False
    assert not METHODS[name].solve(posed(normal(3, 16), moments(16), keep=keep)).levels[1].any()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "stochastic"])
@pytest.mark.parametrize("samples", [3, 400], ids=["singular", "regular"])
def test_columns_never_excited_are_rounded_sanely(name: str, samples: int) -> None:
    gram = moments(16, samples)
    gram[5] = gram[:, 5] = 0.0
    problem = posed(normal(8, 16), gram, bits=4)
    answer = METHODS[name].solve(problem)
    scale = np.abs(answer.grid.scale)
    assert (np.abs(answer.values - problem.weights)[:, 5] <= 4 * scale[:, 0]).all()


@pytest.mark.parametrize("name", [name for name, each in METHODS.items() if each.needs_inputs])
def test_rows_do_not_depend_on_each_other(name: str) -> None:
    weights, gram = normal(6, 16), moments(16)
    together = METHODS[name].solve(posed(weights, gram, bits=3, group=8))
    alone = METHODS[name].solve(posed(weights[2:4], gram, bits=3, group=8))
    np.testing.assert_allclose(together.values[2:4], alone.values, rtol=1e-9)


@pytest.mark.parametrize("name", NEVER_WORSE_THAN_NEAREST)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [0, 8])
def test_some_promise_no_row_worse_than_nearest(name: str, bits: int, group: int) -> None:
    problem = posed(normal(16, 24), moments(24), bits=bits, group=0 if bits == 8 else group)
    plain = output_error(problem, NEAREST.solve(problem))
    assert (output_error(problem, METHODS[name].solve(problem)) <= plain * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", ["gptq", "descent", "auto"])
def test_a_broken_gram_is_refused(name: str) -> None:
    holed = moments(8)
    holed[2, 2] = np.nan
    with pytest.raises(DataError, match="NaN or an infinity"):
        METHODS[name].solve(posed(normal(2, 8), holed))
    with pytest.raises(ModelError, match="no damping"):
        METHODS[name].solve(posed(normal(2, 8), -100 * np.ones((8, 8)) + np.eye(8)))


def test_best_takes_each_row_from_the_answer_with_least_error() -> None:
    problem = posed(normal(32, 24), moments(24), bits=3, group=8)
    answers = [METHODS[name].solve(problem) for name in ("stochastic", "nearest", "hqq")]
    errors = np.stack([output_error(problem, answer) for answer in answers])
    chosen = best(problem, answers)
    check(problem, chosen)
    np.testing.assert_allclose(output_error(problem, chosen), errors.min(axis=0))
    assert len(set(errors.argmin(axis=0))) > 1
