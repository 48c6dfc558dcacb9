"""How far two outputs agree."""

from __future__ import annotations

import numpy as np
import pytest

from intact.pipeline.agreement import Agreement, pool, worst
from intact.pipeline.agreement import agree as agree_on

A = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0], [0.0, 0.0]], np.float32)


def agree(first: np.ndarray, second: np.ndarray) -> Agreement:
    return agree_on("y", first, second)


def test_the_same_outputs_agree_wholly() -> None:
    found = agree(A, A)
    assert (found.output, found.rows, found.same_label, found.cosine, found.error) == ("y", 4, 1.0, 1.0, 0.0)


def test_labels_and_angles_are_counted_by_row() -> None:
    found = agree(A[:3], np.array([[1, 0], [1, 0], [4, 3]], np.float32))
    assert found.same_label == pytest.approx(1 / 3)
    assert found.cosine == pytest.approx((1 + 0 + 24 / 25) / 3)


def test_a_zero_row_agrees_only_with_a_zero_row() -> None:
    assert agree(A[3:], A[3:]).cosine == 1.0
    assert agree(A[3:], A[:1]).cosine == 0.0


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (4, 2, 3)])
def test_outputs_that_are_no_scores_have_no_labels(shape: tuple[int, ...]) -> None:
    value = np.ones(shape, np.float32)
    found = agree(value, value)
    assert found.same_label is None
    assert found.cosine == pytest.approx(1.0)


def test_agreements_are_pooled_by_their_rows() -> None:
    first, second = agree(A[:1], A[:1]), agree(A[:3], -A[:3])
    pooled = pool([first, second])
    assert pooled is not None
    assert pooled.rows == 4
    assert pooled.cosine == pytest.approx((1 - 3) / 4)
    assert pool([]) is None
    flat = agree(A[:, 0], A[:, 0])
    assert pool([first, flat]).same_label is None  # type: ignore[union-attr]


def test_errors_are_relative_and_the_worst_output_is_told() -> None:
    near, far = agree(A, A * 1.01), agree_on("z", A, A * 2)
    assert near.error == pytest.approx(0.01, rel=1e-4)
    assert far.error == pytest.approx(1.0)
    assert worst([near, far]) is far
    assert worst([]) is None
    assert agree(A * 0, A).error == np.inf
    pooled = pool([near, agree(A, A)])
    assert pooled is not None
    assert pooled.error == pytest.approx(0.01 / np.sqrt(2), rel=1e-4)
