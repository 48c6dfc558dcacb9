"""Facts of each layer, and what each costs."""

from __future__ import annotations

import pytest

import intact
from intact.pipeline.layers import decibels
from support.nets import Net, cnn, data

X = data(1, 64, 3, 8, 8)


def uneven() -> bytes:
    """A net whose second layer has weights of very different size in one row: the one that costs most."""
    net = Net(0, x=["n", 16])
    first = net.op("Relu", net.gemm("x", net.normal(16, 16, scale=0.3), net.normal(16), "good"))
    bad = net.normal(16, 16, scale=0.05)
    bad[:, 0] = 30.0
    second = net.gemm(first, bad, net.normal(16), "bad")
    return net.bytes(net.gemm(net.op("Relu", second), net.normal(4, 16), net.normal(4), "last"))


def test_facts_are_those_of_the_layers() -> None:
    built = intact.build(intact.Spec(model=cnn(), calibration=X), engines=["onnxruntime"])
    facts = {layer.name: layer for layer in built.layers}
    assert list(facts) == ["stem", "body", "head"]
    assert facts["stem"].op == "Conv"
    assert facts["stem"].weight_bytes == 8 * 3 * 3 * 3
    assert facts["stem"].source_low == pytest.approx(float(X.min()))
    assert facts["stem"].source_high == pytest.approx(float(X.max()))
    assert all(layer.output_sqnr_db > 25 for layer in facts.values())
    assert all(layer.cost is None for layer in facts.values())


def test_the_costliest_layer_is_found() -> None:
    built = intact.build(
        intact.Spec(model=uneven(), calibration=data(0, 128, 16)),
        engines=["onnxruntime"],
        recipe=intact.Recipe(overrides=(intact.Override(pattern="bad", settings={"weights": 2}),)),
        measure_costs=True,
    )
    costs = {layer.name: layer.cost for layer in built.layers}
    assert max(costs, key=lambda name: costs[name] or 0.0) == "bad"
    assert costs["bad"] is not None
    assert 0.5 < costs["bad"] <= 1.0


def test_costs_can_be_measured_under_a_strict_recipe_and_with_odd_names() -> None:
    net = Net(0, x=["n", 8])
    first = net.op("Relu", net.gemm("x", net.normal(8, 8), net.normal(8), "blocks[0].fc*"))
    model = net.bytes(net.gemm(first, net.normal(4, 8), net.normal(4), "blocks[1].fc?"))
    built = intact.build(
        intact.Spec(model=model, calibration=data(0, 64, 8)),
        engines=["onnxruntime"],
        recipe=intact.Recipe(profile="exact"),
        measure_costs=True,
    )
    assert [layer.name for layer in built.layers] == ["blocks[0].fc*", "blocks[1].fc?"]
    assert all(layer.cost is not None for layer in built.layers)


def test_decibels_are_bounded_and_none_is_nothing() -> None:
    assert decibels(3.0, 0.0) == 200.0
    assert decibels(1.0, 0.01) == pytest.approx(20.0)
    assert decibels(0.0, 0.0) == 0.0
