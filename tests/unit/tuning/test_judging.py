"""How candidates are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from intact.errors import DataError, UsageError
from intact.graph.view import Port
from intact.pipeline.predict import Predictor
from intact.tuning.judging import agreement, anchored, judge
from support.nets import data

HELD = ({"x": data(1, 40, 4)}, {"x": data(2, 60, 4)})


def model(function: Any, *outputs: str) -> Predictor:
    """A model of one input that `function` computes."""

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = function(feeds["x"])
        return found if isinstance(found, dict) else {outputs[0]: found}

    port = Port(name="x", dtype=np.dtype(np.float32), shape=("n", 4))
    return Predictor(inputs=[port], outputs=outputs or ("y",), run=run)


def test_agreement_of_scores_is_that_of_labels() -> None:
    evaluate = agreement(model(lambda x: x, "y"), HELD)
    same = evaluate(model(lambda x: x * 2, "y"))
    turned = evaluate(model(lambda x: -x, "y"))
    assert same.shape == (100,)
    assert (same == 1).all()
    assert (turned == 0).all()


def test_agreement_of_other_outputs_is_the_least_cosine() -> None:
    def both(factor: float) -> Predictor:
        return model(lambda x: {"a": x, "b": np.concatenate([x[:, :1], x[:, 1:] * factor], 1)}, "a", "b")

    scores = agreement(both(1.0), HELD)(both(0.0))
    x = np.concatenate([piece["x"] for piece in HELD])
    np.testing.assert_allclose(scores, np.abs(x[:, 0]) / np.linalg.norm(x, axis=1), rtol=1e-5)
    assert agreement(both(1.0), HELD)(both(1.0)) == pytest.approx(np.ones(100))


def test_without_evaluate_the_verdict_is_on_agreement_and_says_so() -> None:
    found = judge(None, model(lambda x: x, "y"), HELD, 0.05)
    assert "100 held-out inputs" in found.remark
    assert found.verdict(found.scores(model(lambda x: x * 3, "y"))).outcome == "pass"
    assert found.verdict(found.scores(model(lambda x: -x, "y"))).outcome == "fail"


def test_other_scores_have_another_digest() -> None:
    same = [judge(lambda predict: np.arange(50) % 2, model(lambda x: x, "y"), (), 0.1).digest for _ in range(2)]
    other = judge(lambda predict: np.arange(50) % 3 == 0, model(lambda x: x, "y"), (), 0.1).digest
    assert same[0] == same[1] != other


@pytest.mark.parametrize(
    ("scores", "max_drop", "told"),
    [
        (np.ones(50), 0.01, "50 examples, even by a model that changes none of them; about 268 would do"),
        (np.linspace(0, 1, 20), 0.4, "20 examples, even by a model that changes none of them; about 30 would do"),
    ],
)
def test_a_budget_that_the_examples_cannot_show_is_refused(scores: Any, max_drop: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        judge(lambda predict: scores, model(lambda x: x, "y"), (), max_drop)


@pytest.mark.parametrize("scores", [np.zeros(600), np.arange(600) % 10 == 0, 0.1])
def test_a_budget_that_any_model_would_keep_is_refused(scores: Any) -> None:
    with pytest.raises(UsageError, match="any model would keep it"):
        judge(lambda predict: scores, model(lambda x: x, "y"), (), 0.1)


def test_scores_below_zero_are_no_such_thing() -> None:
    assert judge(lambda predict: np.linspace(-3, 0, 600), model(lambda x: x, "y"), (), 0.5).remark == ""


def test_one_number_for_all_examples_is_a_score_too() -> None:
    found = judge(lambda predict: 0.9, model(lambda x: x, "y"), (), 0.01)
    assert found.verdict(np.float64(0.895)).outcome == "pass"


@pytest.mark.parametrize("scores", [[], [[1.0]], "good", [np.inf], None])
def test_what_is_no_score_is_refused(scores: Any) -> None:
    with pytest.raises(DataError, match="scores"):
        judge(lambda predict: scores, model(lambda x: x, "y"), (), 0.1)


def test_an_anchored_evaluate_answers_the_float_model_once_from_memory() -> None:
    asked: list[Any] = []

    def evaluate(predict: Any) -> np.ndarray:
        asked.append(predict)
        return np.full(50, len(asked), float)

    first, second = model(lambda x: x, "y"), model(lambda x: x, "y")
    found = judge(evaluate, first, (), 0.1)
    again = anchored(found)
    assert (again(second) == 1).all()
    assert (again(second) == 2).all()
    assert asked == [first, second]
