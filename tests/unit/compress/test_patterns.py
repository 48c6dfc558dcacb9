"""Shapes of sparsity: what they keep, how they are spelt, and what contradicts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.patterns import pattern
from intact.errors import UsageError

TEXTS = ("unstructured", "rows", "2:4", "1:4", "3:8", "block:4", "block:8")


@pytest.mark.parametrize("text", TEXTS)
def test_a_pattern_is_written_as_it_is_read(text: str) -> None:
    assert str(pattern(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("4:2", "keeps 4 of 2"),
        ("4:4", "keeps 4 of 4"),
        ("0:4", "keeps 0 of 4"),
        ("1:1", "runs of 1"),
        ("2:128", "runs of 128"),
        ("block:1", "blocks of 1"),
        ("block:65", "blocks of 65"),
        ("block", "which is none"),
        ("2:", "which is none"),
        ("-2:4", "which is none"),
        ("Unstructured", "which is none"),
        ("", "which is none"),
    ],
)
def test_what_is_no_pattern_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        pattern(text)
    assert f"'{text}'" in refused.value.message


@pytest.mark.parametrize("share", [0.0, 0.25, 0.49, 0.75])
def test_a_share_that_contradicts_the_runs_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=f"sparsity {share:g} contradicts pattern '2:4', which sets 0.5") as refused:
        pattern("2:4").choose(np.ones((2, 8)), share)
    assert "sparsity = 0.5" in str(refused.value.hint)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"not in \[0, 1\)"):
        pattern("unstructured").refuse_share(share)


@pytest.mark.parametrize("text", ["2:4", "block:4"])
def test_columns_that_do_not_divide_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"pattern '{text}' needs runs of 4 columns, and 27"):
        pattern(text).choose(np.ones((2, 27)), 0.5)


@settings(max_examples=80, deadline=None)
@given(text=st.sampled_from(TEXTS), rows=st.integers(1, 6), runs=st.integers(1, 5), tenths=st.integers(0, 9))
def test_as_many_zeros_as_were_asked_and_where_the_pattern_allows(text: str, rows: int, runs: int, tenths: int) -> None:
    chosen = pattern(text)
    share = 1 - chosen.kept / chosen.size if chosen.kind == "N:M" else tenths / 10
    shape = (rows, 8 * runs)
    scores = np.random.default_rng(rows * runs).integers(0, 5, shape).astype(float)  # many are equal
    keep = chosen.choose(scores, share)
    assert keep.shape == shape
    assert (~keep).sum() == chosen.zeros(shape, share)
    assert abs((~keep).mean() - share) <= 0.5 * (1 / 8 if text == "rows" else chosen.size / keep.size) + 1e-9
    if chosen.kind == "N:M":
        assert (keep.reshape(-1, chosen.size).sum(axis=1) == chosen.kept).all()
    if chosen.kind == "block":
        blocks = keep.reshape(-1, chosen.size)
        assert (blocks.all(axis=1) | ~blocks.any(axis=1)).all()
    if chosen.kind == "rows":
        assert len(set(keep.sum(axis=1))) == 1


def test_the_least_scores_go_and_the_first_of_equals() -> None:
    scores = np.array([[1.0, 1.0, 3.0, 1.0], [9.0, 8.0, 0.0, 7.0]])
    keep = pattern("unstructured").choose(scores, 0.375)
    assert keep.tolist() == [[False, False, True, True], [True, True, False, True]]


def test_choosing_like_an_example_keeps_as_many_in_each_cell() -> None:
    example = np.array([[True, True, False, True], [False, False, False, True]])
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])
    assert pattern("rows").choose_like(scores, example).sum(axis=1).tolist() == [3, 1]
    assert pattern("unstructured").choose_like(scores, example).sum() == 4
