"""How far outputs are apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from intact.tuning.distance import distance
from support.nets import data


def test_scores_are_compared_by_divergence_before_or_after_the_softmax() -> None:
    a, b = data(1, 50, 5), data(2, 50, 5)
    wanted = float(np.mean(entropy(softmax(a.astype(float), axis=1), softmax(b.astype(float), axis=1), axis=1)))
    found = distance([{"y": a[:20]}, {"y": a[20:]}], [{"y": b[:20]}, {"y": b[20:]}])
    assert found.error == pytest.approx(wanted)
    assert found.same == (a.argmax(axis=1) == b.argmax(axis=1)).mean()
    after = distance([{"y": softmax(a, axis=1)}], [{"y": softmax(b, axis=1)}])
    assert after.error == pytest.approx(wanted, rel=1e-4)


def test_other_outputs_are_compared_by_squares() -> None:
    a = data(1, 6, 4, 3)
    found = distance([{"y": a}], [{"y": a * 1.1}])
    assert found.error == pytest.approx(0.01, rel=1e-4)
    assert found.same is None
    both = distance([{"y": a, "z": a[:, 0]}], [{"y": a * 1.1, "z": a[:, 0]}])
    assert both.error == pytest.approx(0.005, rel=1e-4)


def test_equal_outputs_are_at_no_distance() -> None:
    a = data(1, 6, 3)
    assert distance([{"y": a}], [{"y": a}]).error == pytest.approx(0.0, abs=1e-12)
    assert distance([{"y": np.zeros((4, 2, 2))}], [{"y": np.zeros((4, 2, 2))}]).error == 0.0
