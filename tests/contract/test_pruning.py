"""Every way to prune found in the folder keeps the contract of `Pruner`."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress import pruning
from intact.compress.patterns import pattern
from intact.compress.pruning import prune
from intact.compress.pruning.obs import refit
from intact.compress.quadratic import damped
from intact.errors import DataError, ModelError, UsageError

PRUNERS = pruning.pruners()
SHAPES = {"unstructured": 0.6, "rows": 0.6, "2:4": 0.5, "1:4": 0.75, "block:4": 0.5}


def correlated(columns: int, seed: int = 0, rows: int = 0) -> np.ndarray:
    """Second moments of inputs that tell much of each other, of `rows` examples."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows or 8 * columns, columns)) @ (rng.normal(size=(columns, columns)) + np.eye(columns))
    return inputs.T @ inputs / len(inputs)


def loss(weights: np.ndarray, gram: np.ndarray, answer: np.ndarray) -> float:
    difference = weights - answer
    return float(np.einsum("rk,rk->", difference @ gram, difference))


def drawn(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + 100).normal(size=(rows, columns))


def test_every_file_is_a_way_to_prune_of_its_name() -> None:
    files = {path.stem for path in Path(pruning.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(PRUNERS) == files
    assert all(PRUNERS[name].name == name for name in files)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="'wonda'") as refused:
        prune(np.ones((2, 4)), None, "wonda", 0.5, "unstructured")
    assert all(name in str(refused.value.hint) for name in PRUNERS)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 9), runs=st.integers(1, 6), seed=st.integers(0, 99), known=st.booleans())
def test_exactly_the_share_goes_in_the_pattern(
    name: str, shape: str, rows: int, runs: int, seed: int, known: bool
) -> None:
    weights = drawn(rows, 4 * runs, seed)
    before = weights.copy()
    gram = correlated(4 * runs, seed) if known else None
    answer = prune(weights, gram, name, SHAPES[shape], shape)
    assert answer.keep.dtype == bool
    assert answer.weights.dtype == np.float64
    assert (~answer.keep).sum() == pattern(shape).zeros(weights.shape, SHAPES[shape])
    assert not answer.weights[~answer.keep].any()
    assert np.isfinite(answer.weights).all()
    np.testing.assert_array_equal(weights, before)
    if ":" in shape and not shape.startswith("block"):
        kept, size = map(int, shape.split(":"))
        assert (answer.keep.reshape(-1, size).sum(axis=1) == kept).all()
    if shape.startswith("block"):
        blocks = answer.keep.reshape(-1, 4)
        assert (blocks.all(axis=1) | ~blocks.any(axis=1)).all()


@pytest.mark.parametrize("name", PRUNERS)
def test_nothing_goes_at_a_share_of_zero(name: str) -> None:
    weights = drawn(3, 8)
    answer = prune(weights, correlated(8), name, 0.0, "unstructured")
    assert answer.keep.all()
    np.testing.assert_allclose(answer.weights, weights, atol=1e-9)


@pytest.mark.parametrize("name", PRUNERS)
def test_the_same_problem_gets_the_same_answer(name: str) -> None:
    first, second = (prune(drawn(6, 24), correlated(24), name, 0.5, "2:4") for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_zeros_stay_zero(name: str, shape: str) -> None:
    weights = drawn(4, 16)
    weights[[0, 3]] = 0.0
    answer = prune(weights, correlated(16), name, SHAPES[shape], shape)
    assert not answer.weights[[0, 3]].any()
    assert not prune(np.zeros((3, 16)), correlated(16), name, SHAPES[shape], shape).weights.any()


@pytest.mark.parametrize("name", [name for name, member in PRUNERS.items() if member.needs_inputs])
def test_what_meets_dead_inputs_goes_first(name: str) -> None:
    weights, gram = drawn(4, 12), correlated(12)
    dead = [2, 5, 7, 8, 10, 11]
    gram[dead], gram[:, dead] = 0.0, 0.0
    answer = prune(weights, gram, name, 0.5, "unstructured")
    assert (~answer.keep[:, dead]).mean() > 0.7  # damped moments hold a weight of a dead input for worth something
    assert loss(weights, gram, answer.weights) < 5e-3 * loss(weights, gram, np.zeros_like(weights))


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("rows", [1, 5])
def test_singular_moments_have_an_answer(name: str, rows: int) -> None:
    answer = prune(drawn(4, 16), correlated(16, rows=rows), name, 0.5, "2:4")
    assert np.isfinite(answer.weights).all()
    assert not answer.note


@pytest.mark.parametrize("name", PRUNERS)
def test_moments_all_zero_have_an_answer(name: str) -> None:
    assert (~prune(drawn(4, 16), np.zeros((16, 16)), name, 0.5, "2:4").keep).sum() == 32


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(name: str, bad: float) -> None:
    weights, gram = drawn(4, 16), correlated(16)
    gram[3, 3] = bad
    with pytest.raises(DataError, match="NaN or an infinity"):
        prune(weights, gram, name, 0.5, "unstructured")
    weights[0, 0] = bad
    with pytest.raises(DataError, match="weights to be pruned"):
        prune(weights, None, name, 0.5, "unstructured")


@pytest.mark.parametrize("name", PRUNERS)
def test_contradictions_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="contradicts"):
        prune(drawn(4, 16), None, name, 0.75, "2:4")
    with pytest.raises(UsageError, match="27 columns do not divide"):
        prune(drawn(4, 27), None, name, 0.5, "2:4")


def test_without_inputs_every_way_is_by_magnitude() -> None:
    weights = drawn(5, 16)
    answers = [prune(weights, None, name, 0.5, "unstructured") for name in PRUNERS]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.keep, answers[0].keep)
        np.testing.assert_allclose(answer.weights, answers[0].weights)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_obs_loses_less_than_the_others_on_correlated_inputs(shape: str, seed: int) -> None:
    weights, gram = drawn(12, 32, seed), correlated(32, seed)
    losses = {
        name: loss(weights, gram, prune(weights, gram, name, SHAPES[shape], shape).weights) for name in sorted(PRUNERS)
    }
    assert losses["obs"] < 0.9 * min(losses["magnitude"], losses["wanda"])


@pytest.mark.parametrize("seed", range(5))
def test_obs_is_near_the_best_of_all_choices(seed: int) -> None:
    weights, gram = drawn(1, 8, seed), correlated(8, seed)
    steady, best = damped(gram, 0.01), np.inf
    for gone in itertools.combinations(range(8), 4):
        keep = np.isin(np.arange(8), gone, invert=True)[None]
        best = min(best, loss(weights, gram, refit(weights, steady, keep)))
    found = loss(weights, gram, prune(weights, gram, "obs", 0.5, "unstructured").weights)
    everything = loss(weights, gram, np.zeros_like(weights))
    assert best - 1e-9 <= found <= best + 0.2 * everything


def test_refitting_finds_the_least_squares() -> None:
    rng = np.random.default_rng(3)
    inputs, weights = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(2, 6))
    keep = np.array([[True, False, True, True, False, True], [False, False, True, False, True, True]])
    answer = refit(weights, inputs.T @ inputs / 200, keep)
    for row, places in enumerate(keep):
        wanted = np.linalg.lstsq(inputs[:, places], inputs @ weights[row], rcond=None)[0]
        np.testing.assert_allclose(answer[row, places], wanted, atol=1e-9)
        assert not answer[row, ~places].any()


def test_obs_says_what_it_repaired_and_raises_where_it_cannot() -> None:
    gram = np.diag([1.0, 1.0, 1.0, -0.5])
    repaired = prune(drawn(3, 4), gram, "obs", 0.5, "unstructured")
    assert "damping raised" in repaired.note
    assert np.isfinite(repaired.weights).all()
    with pytest.raises(ModelError, match="Cholesky"):
        prune(drawn(3, 4), np.diag([1.0, 1.0, 1.0, -1e6]), "obs", 0.5, "unstructured")
