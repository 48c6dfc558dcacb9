"""Which channels share a factor, where it must be one, and that any such factors leave a graph's function alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.compress.equalize import fold, trace
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import Graph
from support.nets import Net, data
from support.random_nets import networks

X = data(0, 8, 3, 8, 8)


def conv(net: Net, x: str, read: int, made: int, name: str = "", group: int = 1) -> str:
    weight = net.normal(made, read // group, 3, 3, scale=0.3)
    return net.conv(x, weight, net.normal(made), name, pads=[1] * 4, group=group)


def graph_of(net: Net, *outputs: str) -> Graph:
    return normalise(load(net.bytes(*outputs)))


def folded(graph: Graph, seed: int, *, whole: bool) -> Graph:
    """Every label that is not 0 gets a factor of its own, drawn between 1/8 and 8."""
    traced = trace(graph)
    labels = traced.labels(whole=whole)
    draw = np.random.default_rng(seed)
    factors = np.exp2(draw.uniform(-3, 3, 1 + max(int(each.max()) for each in labels.values())))
    factors[0] = 1.0
    return fold(traced, {name: factors[each] for name, each in labels.items()})


def error(graph: Graph, other: Graph, feeds: dict[str, np.ndarray]) -> float:
    """The greatest difference of the outputs, over their greatest value."""
    pairs = zip(Runner(graph)(feeds).values(), Runner(other)(feeds).values(), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-6)) for a, b in pairs)


def shortcut() -> tuple[Graph, str, str]:
    """A stage of 4 channels whose stream goes by Slice and Pad into one of 8; and the outputs of both."""
    net = Net(0, x=["n", 3, 8, 8])
    first = net.op("Relu", conv(net, "x", 3, 4, "stem"))
    inner = net.op("Relu", net.conv(first, net.normal(8, 4, 3, 3), None, "down", pads=[1] * 4, strides=[2, 2]))
    starts, ends, axes, steps = net.whole(0, 0), net.whole(8, 8), net.whole(2, 3), net.whole(2, 2)
    half = net.op("Slice", first, starts, ends, axes, steps)
    wide = net.op("Pad", half, net.whole(0, 2, 0, 0, 0, 2, 0, 0))
    last = net.op("Relu", net.op("Add", conv(net, inner, 8, 8, "out"), wide))
    return graph_of(net, conv(net, last, 8, 2, "head")), first, last


def test_a_padded_shortcut_ties_shifted_channels_and_leaves_the_new_ones_free() -> None:
    graph, first, last = shortcut()
    labels = trace(graph).labels(whole=False)
    np.testing.assert_array_equal(labels[last][2:6], labels[first])
    assert len(set(labels[last])) == 8
    assert 0 not in labels[last]
    assert error(graph, folded(graph, 1, whole=False), {"x": X}) < 1e-5


def test_inputs_and_outputs_and_what_a_sigmoid_reads_have_the_factor_one() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    read, free = conv(net, "x", 3, 4, "read"), net.op("Relu", conv(net, "x", 3, 4, "free"))
    gated = net.op("Mul", free, net.op("Sigmoid", read))
    out = conv(net, gated, 4, 2, "head")
    graph = graph_of(net, out)
    labels = trace(graph).labels(whole=False)
    assert not any(labels[name].any() for name in ("x", out, read))
    np.testing.assert_array_equal(labels[gated], labels[free])
    assert (labels[gated] > 0).all()
    assert error(graph, folded(graph, 2, whole=False), {"x": X}) < 1e-5


def test_parts_of_a_concat_keep_their_own_factors_and_depthwise_makes_new_ones() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    a, b = conv(net, "x", 3, 4, "a"), conv(net, "x", 3, 4, "b")
    joined = net.op("Concat", a, b, axis=1)
    deep = conv(net, joined, 8, 8, "deep", group=8)
    flat = net.op("Flatten", net.op("GlobalAveragePool", net.op("MaxPool", deep, kernel_shape=[2, 2])))
    graph = graph_of(net, net.gemm(flat, net.normal(2, 8), net.normal(2), "head"))
    labels = trace(graph).labels(whole=False)
    np.testing.assert_array_equal(labels[joined], np.concatenate([labels[a], labels[b]]))
    assert not set(labels[deep]) & set(labels[joined])
    np.testing.assert_array_equal(labels[flat], labels[deep])
    assert error(graph, folded(graph, 3, whole=False), {"x": X}) < 1e-5


def test_bounds_of_a_clip_take_in_one_factor_for_the_whole_tensor() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    bounded = net.op("Clip", conv(net, "x", 3, 4, "a"), net.constant(0.0), net.constant(6.0))
    graph = graph_of(net, conv(net, bounded, 4, 2, "head"))
    assert len(set(trace(graph).labels(whole=False)[bounded])) == 1
    assert error(graph, folded(graph, 4, whole=False), {"x": 9 * X}) < 1e-5


def test_whole_tensors_have_one_factor() -> None:
    labels = trace(shortcut()[0]).labels(whole=True)
    assert all(len(set(each)) == 1 for each in labels.values())


@settings(max_examples=40, deadline=None)
@given(model=networks(), seed=st.integers(0, 2**32 - 1), whole=st.booleans())
def test_any_factors_that_fit_leave_random_networks_alone(model: bytes, seed: int, whole: bool) -> None:
    graph = normalise(load(model))
    feeds = {port.name: data(0, 4, *port.shape[1:]) for port in graph.inputs}
    traced = trace(graph)
    labels = traced.labels(whole=whole)
    assert not any(labels[port.name].any() for port in (*graph.inputs, *graph.outputs))
    assert error(graph, folded(graph, seed, whole=whole), feeds) < 1e-4
