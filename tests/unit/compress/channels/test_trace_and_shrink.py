"""Channels that are tied go together, and a smaller graph computes what the large one does without them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intact.compress.channels.shrink import shrink
from intact.compress.channels.trace import trace
from intact.compress.channels.wiring import Wiring, is_depthwise, is_grouped, products
from intact.compress.channels.work import Work, multiply_adds
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import Graph
from support.nets import Net, data
from support.random_nets import networks


def graph_of(model: bytes) -> Graph:
    return normalise(load(model))


def silenced(wiring: Wiring, gone: set[int]) -> Graph:
    """The graph at its full size, no product of which hears the channels in `gone`."""
    constants = dict(wiring.graph.constants)
    for node in products(wiring.graph):
        units = wiring.units(node.inputs[0])
        if units is None or is_depthwise(wiring.graph, node) or is_grouped(wiring.graph, node):
            continue
        weight = constants[node.inputs[1]].copy()
        deaf = np.isin(units, list(gone))
        if node.op == "MatMul":
            weight[deaf] = 0.0
        else:
            weight[:, deaf] = 0.0
        constants[node.inputs[1]] = weight
    return wiring.graph.with_nodes(wiring.graph.nodes, constants)


def check(wiring: Wiring, gone: set[int], *shape: int) -> Graph:
    """Cut, and compare with the silenced graph."""
    small = shrink(wiring, gone)
    onnx.checker.check_model(small.to_proto(), full_check=True)
    feeds = {wiring.graph.inputs[0].name: data(3, *shape)}
    wanted, found = Runner(silenced(wiring, gone))(feeds), Runner(small)(feeds)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3 * max(1.0, np.abs(value).max()))
    return small


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=networks(), seed=st.integers(0, 999))
def test_any_units_may_go_from_any_network(model: bytes, seed: int) -> None:
    wiring = trace(graph_of(model))
    rng, gone = np.random.default_rng(seed), set()
    for group in wiring.groups:
        gone.update(rng.choice(group.units, size=rng.integers(0, len(group.units)), replace=False).tolist())
    port = wiring.graph.inputs[0]
    small = check(wiring, gone, 2, *[size for size in port.shape if isinstance(size, int)])
    counts = [len(set(group.units) - gone) for group in wiring.groups]
    assert multiply_adds(small) == Work(wiring)(counts)
    assert multiply_adds(wiring.graph) == Work(wiring)([len(group.units) for group in wiring.groups])
    assert [port.name for port in small.outputs] == [port.name for port in wiring.graph.outputs]


def residual() -> Graph:
    """A stem and a stage of two blocks, the second of which halves the image and doubles the channels (option A)."""
    net = Net(0, x=["n", 3, 8, 8])
    stem = net.op("Relu", net.conv("x", net.normal(8, 3, 3, 3, scale=0.3), net.normal(8), "stem", pads=[1] * 4))
    inner = net.op("Relu", net.conv(stem, net.normal(6, 8, 3, 3, scale=0.2), net.normal(6), "one", pads=[1] * 4))
    body = net.conv(inner, net.normal(8, 6, 3, 3, scale=0.2), net.normal(8), "two", pads=[1] * 4)
    stream = net.op("Relu", net.op("Add", stem, body))
    down = net.op(
        "Relu", net.conv(stream, net.normal(4, 8, 3, 3, scale=0.2), None, "three", pads=[1] * 4, strides=[2, 2])
    )
    wide = net.conv(down, net.normal(16, 4, 3, 3, scale=0.2), None, "four", pads=[1] * 4)
    half = net.op("Slice", stream, net.whole(0, 0), net.whole(9999, 9999), net.whole(2, 3), net.whole(2, 2))
    short = net.op("Pad", half, net.whole(0, 4, 0, 0, 0, 4, 0, 0))
    total = net.op("Relu", net.op("Add", wide, short))
    flat = net.op("Flatten", net.op("GlobalAveragePool", total))
    return graph_of(net.bytes(net.gemm(flat, net.normal(5, 16, scale=0.5), net.normal(5), "head")))


def test_a_padded_shortcut_ties_the_channels_it_carries_and_frees_the_others() -> None:
    wiring = trace(residual())
    found = {len(group.units): group for group in wiring.groups}
    assert sorted(len(group.units) for group in wiring.groups) == [4, 6, 8, 8]
    stream, rest = [group for group in wiring.groups if len(group.units) == 8]
    wide = next(node.output for node in products(wiring.graph) if node.inputs[1] == "four.weight")
    assert stream.places[wide] == rest.places[wide] == 1
    units = wiring.units(wide)
    assert units is not None
    assert set(units[4:12]) == set(stream.units)
    assert set(units[:4]) | set(units[12:]) == set(rest.units)
    assert found[6].places != found[4].places


def test_a_stream_loses_its_padding_on_the_right_side() -> None:
    wiring = trace(residual())
    wide = next(node.output for node in products(wiring.graph) if node.inputs[1] == "four.weight")
    units = wiring.units(wide)
    assert units is not None
    small = check(wiring, {int(units[0]), int(units[1]), int(units[15]), int(units[5])}, 4, 3, 8, 8)
    pads = next(small.constants[node.inputs[1]] for node in small.nodes if node.op == "Pad")
    assert pads.tolist() == [0, 2, 0, 0, 0, 3, 0, 0]
    assert small.constants["stem.weight"].shape == (7, 3, 3, 3)
    assert small.constants["four.weight"].shape == (12, 4, 3, 3)


def test_depthwise_concat_split_and_gates() -> None:
    net = Net(1, x=["n", 3, 6, 6])
    first = net.op("Relu", net.conv("x", net.normal(8, 3, 1, 1), net.normal(8), "first"))
    deep = net.op("HardSwish", net.conv(first, net.normal(8, 1, 3, 3), net.normal(8), "deep", group=8, pads=[1] * 4))
    gate = net.conv(net.op("GlobalAveragePool", deep), net.normal(8, 8, 1, 1), net.normal(8), "gate")
    gated = net.op("Mul", deep, net.op("HardSigmoid", gate))
    other = net.conv("x", net.normal(4, 3, 1, 1), net.normal(4), "other")
    joined = net.op("Concat", gated, other, axis=1)
    left, right = net.op("Split", joined, net.whole(8, 4), outputs=2, axis=1)
    ends = [
        net.conv(left, net.normal(2, 8, 1, 1), None, "left"),
        net.conv(right, net.normal(2, 4, 1, 1), None, "right"),
    ]
    wiring = trace(graph_of(net.bytes(net.op("Add", *ends))))
    assert sorted(len(group.units) for group in wiring.groups) == [4, 8]
    eight = next(group for group in wiring.groups if len(group.units) == 8)
    four = next(group for group in wiring.groups if len(group.units) == 4)
    small = check(wiring, {*eight.units[:3], four.units[2]}, 2, 3, 6, 6)
    assert small.constants["deep.weight"].shape == (5, 1, 3, 3)
    assert small.constants["gate.weight"].shape == (5, 5, 1, 1)
    assert next(node for node in small.nodes if "deep.weight" in node.inputs).attributes["group"] == 5


@pytest.mark.parametrize("flat", ["Flatten", "Reshape"])
def test_a_channel_goes_with_all_its_places_of_a_flattened_image(flat: str) -> None:
    net = Net(2, x=["n", 3, 5, 5])
    first = net.op("MaxPool", net.conv("x", net.normal(6, 3, 2, 2), net.normal(6), "first"), kernel_shape=[2, 2])
    shaped = net.op("Flatten", first) if flat == "Flatten" else net.op("Reshape", first, net.whole(-1, 54))
    wiring = trace(graph_of(net.bytes(net.gemm(shaped, net.normal(4, 54), net.normal(4), "last"))))
    (group,) = wiring.groups
    assert sorted(group.places.values()) == [1, 1, 9]
    assert check(wiring, set(group.units[1:3]), 2, 3, 5, 5).constants["last.weight"].shape == (4, 36)


def test_hidden_features_of_a_transformers_dense_block() -> None:
    net = Net(3, x=["n", 7, 8])
    up = net.op(
        "Add", net.op("MatMul", "x", net.constant(net.normal(8, 32), "up.weight")), net.constant(net.normal(32))
    )
    active = net.op("Mul", up, net.op("Erf", net.op("Div", up, net.constant(1.4))))
    down = net.op("MatMul", active, net.constant(net.normal(32, 8), "down.weight"))
    wiring = trace(graph_of(net.bytes(net.op("Add", down, "x"))))
    (group,) = wiring.groups
    assert len(group.units) == 32
    small = check(wiring, set(group.units[::3]), 2, 7, 8)
    assert small.constants["down.weight"].shape == (21, 8)


@pytest.mark.parametrize("op", ["Softmax", "LayerNormalization", "ReduceSum", "Resize"])
def test_what_meets_an_operator_without_a_rule_stays(op: str) -> None:
    net = Net(4, x=["n", 3, 4, 4])
    first = net.conv("x", net.normal(8, 3, 1, 1), net.normal(8), "first")
    inputs = {
        "Softmax": ("",),
        "LayerNormalization": ("", net.constant(np.ones(4)), net.constant(np.zeros(4))),
        "ReduceSum": ("", net.whole(1)),
        "Resize": ("", "", net.constant([1.0, 1.0, 2.0, 2.0])),
    }[op]
    last = net.op(op, first, *inputs[1:])
    kept = trace(graph_of(net.bytes(net.conv(last, net.normal(2, 1 if op == "ReduceSum" else 8, 1, 1), None, "last"))))
    assert not kept.groups


def test_inputs_and_outputs_keep_their_channels() -> None:
    net = Net(5, x=["n", 8])
    first = net.gemm("x", net.normal(16, 8), net.normal(16), "first")
    last = net.gemm(net.op("Relu", first), net.normal(4, 16), net.normal(4), "last")
    assert not trace(graph_of(net.bytes(first, last))).groups
    assert [len(group.units) for group in trace(graph_of(net.bytes(last))).groups] == [16]
