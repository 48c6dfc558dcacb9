"""The loop keeps its budget, gives the same bits twice, and says what is wrong with the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from intact import DataError, LayerRecipe, Recipe, Spec, UsageError
from intact.graph.run import Runner
from intact.training import Prepared, Retrainer, Told, Training, export, finetune, prepare, train
from support.nets import cnn, data

X = data(1, 24, 3, 8, 8)
Y = np.arange(24) % 5
SPEC = Spec(model=cnn(), calibration={"x": X})
NARROW = Recipe(default=LayerRecipe(weights=3, activation_bits=4))


def prepared() -> Prepared:
    return prepare(SPEC, NARROW)


def batches(epoch: int) -> Iterator[Any]:
    order = np.random.default_rng(epoch).permutation(24)
    return ((X[part], Y[part]) for part in np.split(order, 3))


def distance(made: Prepared) -> float:
    """How far the outputs are from the float model's."""
    with torch.no_grad():
        return float((made(X) - torch.from_numpy(_float(X))).square().mean())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_distillation_brings_the_outputs_nearer(optimizer: str, loss: str) -> None:
    made = prepared()
    before = distance(made)
    training = Training(
        steps=120, labels=0.0, rate=3e-3 if optimizer == "adam" else 1e-2, optimizer=optimizer, loss=loss
    )  # type: ignore[arg-type]
    history = train(made, batches, training=training)
    assert distance(made) < 0.7 * before
    assert (history.steps == len(history.losses) == 120 and history.epochs == 40) or history.epochs == 41
    assert not made.training


def test_labels_alone_teach_the_classes() -> None:
    made = prepared()
    history = train(made, batches, training=Training(steps=150, labels=1.0, rate=1e-2))
    assert np.mean(history.losses[-10:]) < 0.7 * np.mean(history.losses[:10])


def test_the_same_steps_give_the_same_bits() -> None:
    first, second = prepared(), prepared()
    histories = [train(made, batches, training=Training(steps=5)) for made in (first, second)]
    assert histories[0].losses == histories[1].losses
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    one, other = export(first), export(second)
    for name, solution in one.solutions.items():
        assert np.array_equal(solution.codes.q, other.solutions[name].codes.q)


def test_a_budget_of_minutes_is_kept_and_progress_tells_what_is_left() -> None:
    told: list[Told] = []
    history = train(prepared(), batches, training=Training(minutes=0.02), progress=told.append)
    assert 1.2 <= history.seconds < 10.0
    assert [each.step for each in told] == list(range(1, history.steps + 1))
    assert told[0].left_s <= 1.2 and told[-1].left_s == pytest.approx(max(0.0, 1.2 - told[-1].seconds))


def test_counted_steps_estimate_what_is_left() -> None:
    told: list[Told] = []
    train(prepared(), batches, training=Training(steps=4), progress=told.append)
    assert told[-1].left_s == 0.0 and told[0].left_s == pytest.approx(3 * told[0].seconds)


def test_a_teacher_of_ones_own() -> None:
    made = prepared()
    name = made.draft.plan.graph.outputs[0].name
    asked = []

    def teacher(feeds: Any) -> Any:
        asked.append(len(feeds["x"]))
        return {name: torch.zeros(len(feeds["x"]), 5)}

    train(made, batches, training=Training(steps=60, labels=0.0, loss="mse", rate=1e-2), teacher=teacher)
    with torch.no_grad():
        assert made(X).abs().mean() < 0.5 * np.abs(_float(X)).mean()
    assert asked == [8] * 60


def _float(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (value,) = Runner(SPEC.proto())({"x": x}).values()
    return value


def test_bfloat16_trains_and_leaves_the_module_in_float32() -> None:
    made = prepared()
    before = distance(made)
    train(made, batches, training=Training(steps=120, labels=0.0, rate=3e-3, bfloat16=True))
    assert distance(made) < 0.8 * before
    with torch.no_grad():
        assert made(X).dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "wanted one of them"),
        ({"steps": 5, "minutes": 1.0}, "wanted one of them"),
        ({"steps": 0}, "steps is 0"),
        ({"minutes": 0.0}, "minutes is 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"minutes": -1.0}, "minutes is -1"),
        ({"steps": 1, "rate": 0.0}, "rate is 0"),
        ({"steps": 1, "labels": 1.5}, "labels is 1.5"),
        ({"steps": 1, "decay": -1.0}, "decay is -1"),
        ({"steps": 1, "temperature": float("inf")}, "temperature is inf"),
        ({"steps": 1, "loss": "l1"}, "loss is 'l1'"),
        ({"steps": 1, "optimizer": "lion"}, "optimizer is 'lion'"),
    ],
)
def test_settings_out_of_range_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Training(**given)


def one(batch: Any) -> Any:
    return [batch]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "are empty"),
        (one(np.full_like(X, np.nan)), "holds NaN"),
        (one(X[:, :2]), "has shape"),
        (one({"y": X}), "the model takes the inputs"),
        (one((X, Y, Y)), "a batch is a tuple of 3"),
        (one((X, Y[:3])), "labels are"),
        (one((X, Y.astype(np.float32))), "labels are torch.float32"),
        (one((X, Y + 3)), "labels range from 3 to 7, wanted 0 to 4"),
    ],
)
def test_data_that_do_not_fit_are_told(given: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        train(prepared(), given, training=Training(steps=2))


def test_an_iterator_that_ends_is_told() -> None:
    with pytest.raises(DataError, match="epoch 1 are empty"):
        train(prepared(), iter([X, X]), training=Training(steps=3, labels=0.0))


def test_a_loss_that_becomes_nan_ends_the_training() -> None:
    made = prepared()
    with torch.no_grad():
        made.net.trained["head.bias"][0] = float("inf")
    with pytest.raises(DataError, match="the loss became"):
        train(made, batches, training=Training(steps=2))


def test_finetune_returns_a_draft_with_trained_integers() -> None:
    made = finetune(SPEC, NARROW, batches, training=Training(steps=3))
    plain = prepare(SPEC, NARROW).draft
    name = made.plan.layers[0].layer
    assert not np.array_equal(made.emission.solutions[name].codes.q, plain.emission.solutions[name].codes.q)
    assert made.source_sha256 == plain.source_sha256
    with pytest.raises(UsageError, match="neither minutes nor a training"):
        finetune(SPEC, NARROW, batches)


def test_a_retrainer_keeps_to_the_time_that_is_left() -> None:
    retrain = Retrainer(data=batches, minutes=5.0)
    assert retrain(SPEC, NARROW, 1.5).plan.recipe == NARROW
    with pytest.raises(UsageError, match="seconds are left"):
        retrain(SPEC, NARROW, 0.2)
