"""Channels go where that costs least, the others make it good, and the target is met."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from intact.compress import channels
from intact.compress.channels import multiply_adds, thin
from intact.compress.channels.readers import make_readers
from intact.compress.channels.trace import trace
from intact.compress.channels.wiring import products
from intact.compress.channels.work import Work
from intact.errors import DataError, ModelError, UsageError
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.run import Runner
from intact.graph.view import Graph
from support.nets import Net, data


def graph_of(model: bytes) -> Graph:
    return normalise(load(model))


def redundant(copies: int = 2, kinds: int = 8) -> Graph:
    """Channels that come `copies` times, each in another size: all but one of each kind can go without a loss."""
    net = Net(0, x=["n", 3, 8, 8])
    base, bias = net.normal(kinds, 3, 3, 3, scale=0.3), net.normal(kinds)
    sizes = np.linspace(1.0, 2.0, copies)
    weight = np.concatenate([base * size for size in sizes])
    first = net.op("Relu", net.conv("x", weight, np.concatenate([bias * s for s in sizes]), "first", pads=[1] * 4))
    second = net.conv(first, net.normal(16, copies * kinds, 3, 3, scale=0.2), net.normal(16), "second", pads=[1] * 4)
    flat = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", second)))
    return graph_of(net.bytes(net.gemm(flat, net.normal(5, 16), net.normal(5), "head")))


def output_of(graph: Graph, x: np.ndarray) -> np.ndarray:
    (value,) = Runner(graph)({graph.inputs[0].name: x}).values()
    return value


def test_what_is_said_twice_goes_and_nothing_is_lost() -> None:
    graph, x = redundant(), data(1, 64, 3, 8, 8)
    found = thin(graph, [{"x": x}], macs=0.6, multiple=8)
    group = next(group for group in found.groups if group.layers == ("first",))
    assert (group.before, group.after) == (16, 8)
    before, after = output_of(graph, x), output_of(found.graph, x)
    assert np.abs(after - before).mean() < 0.02 * np.abs(before).mean()
    kept = found.graph.constants["first.weight"].reshape(8, -1)
    directions = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    assert (np.abs(directions @ directions.T - np.eye(8)) < 0.99).all()  # one of each kind is left


def test_the_share_is_kept_and_counted_exactly() -> None:
    graph = redundant()
    found = thin(graph, [{"x": data(1, 32, 3, 8, 8)}], macs=0.45, multiple=4)
    assert found.macs_before == multiply_adds(graph) == 64 * 9 * (3 * 16 + 16 * 16) + 16 * 5
    assert found.macs_after == multiply_adds(found.graph) <= 0.45 * found.macs_before
    assert found.share == found.macs_after / found.macs_before
    widths = {group.layers: group.after for group in found.groups}
    first, second = widths[("first",)], widths[("second",)]
    assert first % 4 == second % 4 == 0
    assert found.macs_after == 64 * 9 * (3 * first + first * second) + second * 5
    onnx.checker.check_model(found.graph.to_proto(), full_check=True)


def test_removal_in_closed_form_is_the_least_squares_fit() -> None:
    graph, x = redundant(copies=1, kinds=6), data(2, 48, 3, 8, 8)
    wiring = trace(graph)
    node = next(node for node in products(graph) if node.inputs[1] == "second.weight")
    reader = make_readers(wiring, [node], [{"x": x}])[node.output]
    units = wiring.units(node.inputs[0])
    assert units is not None
    losses = reader.losses([int(unit) for unit in units])
    gone = [int(units[1]), int(units[4])]
    less = reader.without(gone[0]).without(gone[1])
    value = Runner(graph, fetch=[node.inputs[0]])({"x": x})[node.inputs[0]]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(value, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), axis=(2, 3)
    )
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 54).astype(np.float64)
    target = rows @ graph.constants["second.weight"].reshape(16, -1).T + graph.constants["second.bias"]
    left = np.repeat(~np.isin(units, gone), 9)
    designed = np.column_stack([rows[:, left], np.ones(len(rows))])
    ridge = 0.01 * np.square(rows).mean()
    shrunk = np.diag(np.append(np.full(int(left.sum()), ridge), 0.0)) * len(rows)
    full = graph.constants["second.weight"].reshape(16, -1).astype(np.float64)
    pull = np.zeros((len(shrunk), 16))
    pull[:-1] = ridge * len(rows) * full[:, left].T
    wanted = np.linalg.solve(designed.T @ designed + shrunk, designed.T @ target + pull)
    np.testing.assert_allclose(less.weights[:, np.append(left, True)], wanted.T, rtol=1e-4, atol=1e-5)
    assert not less.weights[:, :-1][:, ~left].any()
    single = reader.without(gone[0])
    errors = np.square(designed_error(rows, target, single.weights)).sum(axis=1).mean()
    energy = target.var(axis=0).sum()
    # the damped form counts a little more than the data alone
    assert errors / energy <= losses[1] * (1 + 1e-6)
    assert losses[1] == pytest.approx(errors / energy, rel=0.2)


def designed_error(rows: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(target - np.column_stack([rows, np.ones(len(rows))]) @ weights.T)


def test_the_same_graph_and_data_give_the_same_bits() -> None:
    x = data(1, 32, 3, 8, 8)
    first, second = (thin(redundant(), [{"x": x}], macs=0.5, multiple=4).graph for _ in range(2))
    for name, value in first.constants.items():
        np.testing.assert_array_equal(value, second.constants[name])


def test_dead_channels_go_first() -> None:
    graph = redundant(copies=1, kinds=16)
    bias = graph.constants["first.bias"].copy()
    bias[[0, 3, 5, 6, 9, 11, 12, 14]] = -100.0  # Relu lets nothing through
    graph = graph.with_nodes(graph.nodes, {"first.bias": bias})
    found = thin(graph, [{"x": data(1, 32, 3, 8, 8)}], macs=0.7, multiple=8)
    assert (found.graph.constants["first.bias"] > -50).all()
    x = data(9, 8, 3, 8, 8)
    np.testing.assert_allclose(output_of(found.graph, x), output_of(graph, x), rtol=1e-2, atol=1e-2)


def test_inputs_that_are_all_zero_are_no_trouble() -> None:
    found = thin(redundant(), [{"x": np.zeros((8, 3, 8, 8), np.float32)}], macs=0.5, multiple=8)
    assert all(np.isfinite(value).all() for value in found.graph.constants.values())


def test_a_share_out_of_reach_names_what_can_be_had() -> None:
    with pytest.raises(UsageError, match=r"no more channels may go at 0\.\d+ of the multiply-adds, not 0\.100") as told:
        thin(redundant(), [{"x": data(1, 8, 3, 8, 8)}], macs=0.1, multiple=8)
    assert "fewer than 8" in str(told.value.hint)


@pytest.mark.parametrize("macs", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(macs: float) -> None:
    with pytest.raises(UsageError, match="macs is"):
        thin(redundant(), [{"x": data(1, 8, 3, 8, 8)}], macs=macs)


def test_other_bad_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="multiple is 0"):
        thin(redundant(), [{"x": data(1, 8, 3, 8, 8)}], macs=0.5, multiple=0)
    with pytest.raises(DataError, match="no data"):
        thin(redundant(), [], macs=0.5)


def test_a_model_without_channels_that_could_go_is_refused() -> None:
    net = Net(0, x=["n", 8])
    graph = graph_of(net.bytes(net.gemm("x", net.normal(4, 8), net.normal(4), "only")))
    with pytest.raises(UsageError, match="no channels that could go"):
        thin(graph, [{"x": data(1, 8, 8)}], macs=0.5)


def test_a_convolution_that_pads_by_itself_is_refused() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    first = net.op("Relu", net.conv("x", net.normal(16, 3, 3, 3), net.normal(16), "first", auto_pad="SAME_UPPER"))
    graph = graph_of(net.bytes(net.conv(first, net.normal(4, 16, 3, 3), None, "second", auto_pad="SAME_UPPER")))
    with pytest.raises(ModelError, match="auto_pad"):
        thin(graph, [{"x": data(1, 8, 3, 8, 8)}], macs=0.5)


def test_products_too_wide_to_fit_anew_keep_their_inputs_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MOST_COLUMNS", 100)
    found = thin(redundant(copies=1, kinds=16), [{"x": data(1, 8, 3, 8, 8)}], macs=0.9, multiple=4)
    kept = next(group for group in found.groups if group.layers == ("first",))
    assert kept.before == kept.after
    assert "reads 144 columns, more than 100" in kept.reason


def test_time_is_saved_by_whole_vectors_of_outputs_and_by_every_input() -> None:
    wiring = trace(redundant(copies=1, kinds=32))
    work = Work(wiring)
    names = [group.places for group in wiring.groups]
    first = next(number for number, places in enumerate(names) if any("conv0" in name for name in places))

    def effort(count: int) -> float:
        counts = [len(group.units) for group in wiring.groups]
        counts[first] = count
        return work.effort(counts)

    outputs, inputs = 64 * 9 * (3 + 4) * 16, 64 * 9 * 16  # a vector of the first product, an input of the second
    assert effort(32) - effort(24) == 8 * inputs
    assert effort(32) - effort(16) == outputs + 16 * inputs


def test_what_was_taken_beyond_the_target_is_given_back() -> None:
    """The last step may save far more than was missing: then dearer steps before it are undone."""
    graph, x = redundant(copies=1, kinds=64), data(1, 32, 3, 8, 8)
    found = thin(graph, [{"x": x}], macs=0.7, multiple=8)
    widths = {group.layers: group.after for group in found.groups}
    first, second = widths[("first",)], widths[("second",)]

    def macs(first: int, second: int) -> int:
        return 64 * 9 * (3 * first + first * second) + second * 5

    assert found.macs_after == macs(first, second) <= 0.7 * found.macs_before
    assert first == 64 or macs(first + 16, second) > 0.7 * found.macs_before
    assert second == 16 or macs(first, second + 8) > 0.7 * found.macs_before


def test_channels_that_only_padding_added_may_vanish_with_it() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    stem = net.op("Relu", net.conv("x", net.normal(16, 3, 3, 3, scale=0.3), net.normal(16), "stem", pads=[1] * 4))
    inner = net.op("Relu", net.conv(stem, net.normal(16, 16, 3, 3, scale=0.1), net.normal(16), "one", pads=[1] * 4))
    wide = net.conv(inner, net.normal(32, 16, 3, 3, scale=0.01), net.normal(32), "two", pads=[1] * 4)
    total = net.op("Relu", net.op("Add", wide, net.op("Pad", stem, net.whole(0, 8, 0, 0, 0, 8, 0, 0))))
    flat = net.op("Flatten", net.op("GlobalAveragePool", total))
    graph = graph_of(net.bytes(net.gemm(flat, net.normal(5, 32, scale=0.5), net.normal(5), "head")))
    found = thin(graph, [{"x": data(1, 32, 3, 8, 8)}], macs=0.75, multiple=16)
    assert [(group.before, group.after) for group in found.groups] == [(16, 16), (16, 16), (16, 0)]
    assert not any(node.op == "Pad" for node in normalise(found.graph.to_proto()).nodes)
    assert output_of(found.graph, data(2, 4, 3, 8, 8)).shape == (4, 5)
    with pytest.raises(UsageError, match="no more channels may go"):
        thin(graph, [{"x": data(1, 32, 3, 8, 8)}], macs=0.4, multiple=16)  # the others are all that their tensors have
