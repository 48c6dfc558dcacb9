"""Equalization keeps the function of a graph and moves what its tensors range over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from intact.compress.equalize import equalize
from intact.compress.plan import plan
from intact.compress.recipe import LayerRecipe, Recipe
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from support.nets import Net, data
from support.random_nets import networks
from support.stages import compress, sqnr_db

SIDE = 8
X = data(1, 48, 3, SIDE, SIDE)


def residual(uneven: float) -> bytes:
    """A stem, a block of two convolutions around which its input goes, and a head; channels of uneven size."""
    net = Net(0, x=["n", 3, SIDE, SIDE])
    sizes = np.logspace(0, uneven, 8, dtype=np.float32)[:, None, None, None]
    stem = net.op("Relu", net.conv("x", net.normal(8, 3, 3, 3, scale=0.3) * sizes, net.normal(8), "stem"))
    inner = net.op("Relu", net.conv(stem, net.normal(8, 8, 3, 3, scale=0.2) * sizes, None, "one", pads=[1, 1, 1, 1]))
    outer = net.conv(inner, net.normal(8, 8, 3, 3, scale=0.2), net.normal(8), "two", pads=[1, 1, 1, 1])
    joined = net.op("Relu", net.op("Add", outer, stem))
    return bytes(net.bytes(net.conv(joined, net.normal(4, 8, 1, 1, scale=0.2), net.normal(4), "head")))


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_function_stays(granularity: str, bits: int) -> None:
    graph = normalise(load(residual(1.5)))
    made = plan(graph, Recipe(default=LayerRecipe(weights=bits, activation_bits=bits)))
    equalized = equalize(made, [{"x": X}], granularity)
    assert equalized.factors
    (before,), (after,) = Runner(graph)({"x": X}).values(), Runner(equalized.graph)({"x": X}).values()
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
    names = {port.name for port in (*graph.inputs, *graph.outputs)}
    assert not names & set(equalized.factors)


@settings(max_examples=15, deadline=None)
@given(model=networks())
def test_random_networks_keep_their_function(model: bytes) -> None:
    graph = normalise(load(model))
    made = plan(graph, Recipe())
    feeds = {port.name: data(0, 8, *port.shape[1:]) for port in graph.inputs}
    equalized = equalize(made, [feeds])
    for before, after in zip(Runner(graph)(feeds).values(), Runner(equalized.graph)(feeds).values(), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3 * max(float(np.abs(before).max()), 1e-6))


def test_uneven_channels_lose_less_at_four_bits() -> None:
    def quality(*, equal: bool) -> float:
        narrow = LayerRecipe(activation_bits=4)
        graph = residual(2.0)
        if equal:
            base = normalise(load(graph))
            graph = equalize(plan(base, Recipe(default=narrow)), [{"x": X}]).graph.to_proto().SerializeToString()
        made = compress(graph, {"x": X}, Recipe(default=narrow))
        (before,), (after,) = made.float_run({"x": X}).values(), made.run("reference", {"x": X}).values()
        return sqnr_db(before, after)

    assert quality(equal=True) > quality(equal=False)


def test_without_data_or_in_the_other_layout_nothing_changes() -> None:
    graph = normalise(load(residual(1.0)))
    assert equalize(plan(graph, Recipe()), []).graph is graph
    made = plan(graph, Recipe(layout="islands"))
    assert equalize(made, [{"x": X}]).graph is made.graph
