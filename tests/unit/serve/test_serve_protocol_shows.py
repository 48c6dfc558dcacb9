"""What of an output a grant shows, and that nothing else of it goes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from intact.errors import UsageError
from intact.serve.protocol import shows
from intact.serve.state import Terms

SCORES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.floats(-100, 100, width=32)
)


@given(scores=SCORES)
def test_all_of_it(scores: np.ndarray) -> None:
    assert shows.apply("full", {"y": scores})["y"] is scores


@given(scores=SCORES)
def test_the_label_only(scores: np.ndarray) -> None:
    shown = shows.apply("label", {"y": scores})
    assert list(shown) == ["y"]
    assert shown["y"].dtype == np.int64
    np.testing.assert_array_equal(shown["y"], [list(row).index(max(row)) for row in scores])


@given(scores=SCORES, count=st.integers(1, 9))
def test_the_highest_few(scores: np.ndarray, count: int) -> None:
    shown = shows.apply(f"top-{count}", {"y": scores})
    kept = min(count, scores.shape[1])
    assert shown.keys() == {"y.labels", "y.scores"}
    for row, labels, values in zip(scores, shown["y.labels"], shown["y.scores"], strict=True):
        wanted = sorted(range(len(row)), key=lambda place: (-row[place], place))[:kept]
        assert labels.tolist() == wanted
        np.testing.assert_array_equal(values, row[wanted])


@given(scores=SCORES, digits=st.integers(0, 9))
def test_rounded_values(scores: np.ndarray, digits: int) -> None:
    shown = shows.apply(f"rounded-{digits}", {"y": scores})["y"]
    assert shown.dtype == scores.dtype
    np.testing.assert_allclose(shown, scores, atol=0.5 * 10.0**-digits + 1e-4)
    assert not np.signbit(shown[shown == 0]).any()


@given(scores=SCORES)
def test_whole_numbers_along_the_batch_are_labels_already(scores: np.ndarray) -> None:
    labels = scores.argmax(axis=1)
    for mode in ("label", "top-2", "rounded-1"):
        np.testing.assert_array_equal(shows.apply(mode, {"y": labels})["y"], labels)


def test_a_row_that_is_one_number_has_no_label_to_tell() -> None:
    values = np.float32([0.5, 3.0, -1.0])
    np.testing.assert_array_equal(shows.apply("label", {"y": values})["y"], [0, 0, 0])
    np.testing.assert_array_equal(shows.apply("top-3", {"y": values})["y.scores"][:, 0], values)


@pytest.mark.parametrize("text", ["full", "label", "top-1", "top-9999", "rounded-0", "rounded-9"])
def test_what_a_grant_may_say_is_understood(text: str) -> None:
    assert shows.check(text) == Terms(shows=text).shows


@pytest.mark.parametrize("text", ["", "Full", "top", "top-0", "top-01", "top-10000", "rounded-10", "rounded--1", "a"])
def test_other_texts_are_refused_here_and_in_grants(text: str) -> None:
    with pytest.raises(UsageError):
        shows.check(text)
    with pytest.raises(UsageError):
        Terms(shows=text)
