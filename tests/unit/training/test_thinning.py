"""Fewer channels and fine-tuning, from a Spec to a Spec."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import intact
from intact.compress.channels import multiply_adds
from intact.errors import DataError, UsageError
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import read
from intact.training.loop import Training
from intact.training.thinning import prune
from support.nets import Net, data


def convnet() -> bytes:
    """Two convolutions of 32 and 16 channels with a residual between two of the latter: x (n, 3, 8, 8) to (n, 4)."""
    net = Net(0, x=["n", 3, 8, 8])
    first = net.op("Relu", net.conv("x", net.normal(32, 3, 3, 3, scale=0.3), net.normal(32), "first", pads=[1] * 4))
    second = net.op(
        "Relu", net.conv(first, net.normal(16, 32, 3, 3, scale=0.1), net.normal(16), "second", pads=[1] * 4)
    )
    third = net.conv(second, net.normal(16, 16, 1, 1, scale=0.2), net.normal(16), "third")
    flat = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.op("Add", second, third))))
    return net.bytes(net.gemm(flat, net.normal(4, 16), net.normal(4), "head"))


@pytest.fixture(scope="module")
def source() -> intact.Spec:
    x = data(1, 400, 3, 8, 8)
    (truth,) = Runner(read(load(convnet())))({"x": x}).values()
    return intact.Spec(
        model=convnet(),
        calibration=x[:100],
        evaluate=lambda predict: -np.abs(predict(x) - truth).mean(axis=1),
        name="small",
    )


def batches(number: int) -> Iterator[tuple[np.ndarray, None]]:
    rng = np.random.default_rng(number)
    for _ in range(20):
        yield rng.normal(size=(64, 3, 8, 8)).astype(np.float32), None


def test_a_thin_model_is_smaller_and_training_brings_it_back(source: intact.Spec) -> None:
    alone = prune(source, None, macs=0.5, multiple=4)
    trained = prune(
        source, batches, macs=0.5, multiple=4, training=Training(steps=60, rate=3e-3, labels=0.0, loss="mse")
    )
    for slim in (alone, trained):
        graph = normalise(load(slim.spec.model.SerializeToString()))
        assert slim.macs_after == multiply_adds(graph) <= 0.5 * slim.macs_before
        assert slim.share == slim.macs_after / slim.macs_before
        assert all(group.after % 4 == 0 and group.after <= group.before for group in slim.groups)
        assert slim.metric_before == pytest.approx(0.0, abs=1e-4)
    assert alone.histories == ()
    assert [history.steps for history in trained.histories] == [60]
    assert alone.metric_after is not None
    assert trained.metric_after is not None
    assert trained.metric_after > 0.9 * alone.metric_after  # scores are distances below zero


def test_what_comes_out_is_built_as_any_model(source: intact.Spec) -> None:
    slim = prune(source, None, macs=0.6, multiple=8)
    built = intact.build(slim.spec, max_drop=0.5)
    assert built.name == "small"
    assert built.plan.exact
    assert built.verdict is not None
    assert built.verdict.float_metric == pytest.approx(slim.metric_after)


def test_rounds_share_the_work_and_the_training(source: intact.Spec) -> None:
    slim = prune(source, batches, macs=0.4, multiple=4, rounds=2, training=Training(steps=40))
    assert [history.steps for history in slim.histories] == [6, 34]
    assert slim.share <= 0.4
    assert [group.before for group in slim.groups] == [group.before for group in prune(source, None, macs=0.9).groups]


def test_the_same_steps_give_the_same_bits(source: intact.Spec) -> None:
    first, second = (
        prune(source, batches, macs=0.5, multiple=4, training=Training(steps=5)).spec.model.SerializeToString()
        for _ in range(2)
    )
    assert first == second


def test_progress_tells_of_channels_and_training(source: intact.Spec) -> None:
    told: list[tuple[str, int, int]] = []
    prune(
        source,
        batches,
        macs=0.5,
        multiple=4,
        training=Training(steps=3),
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert {stage for stage, _, _ in told} == {"channels", "train"}
    assert told[-1] == ("train", 3, 3)
    assert all(0 <= done <= total for _, done, total in told)


def test_bad_arguments_are_refused(source: intact.Spec) -> None:
    with pytest.raises(UsageError, match="macs is 1.5"):
        prune(source, None, macs=1.5)
    with pytest.raises(UsageError, match="rounds is 0"):
        prune(source, None, rounds=0)
    with pytest.raises(UsageError, match="judged on calibration data"):
        prune(intact.Spec(model=convnet()), None)
    with pytest.raises(UsageError, match="no more channels may go"):
        prune(source, None, macs=0.01)
    with pytest.raises(DataError, match="batches of epoch 0 are empty"):
        prune(source, [], macs=0.6, training=Training(steps=1))
