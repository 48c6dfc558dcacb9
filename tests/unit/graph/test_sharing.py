"""Shared weights get a name for every reader."""

from __future__ import annotations

import numpy as np

from intact.graph.load import load
from intact.graph.run import Runner
from intact.graph.sharing import unshare
from intact.graph.view import read
from support.nets import Net, data


def test_every_reader_has_a_constant_of_its_own() -> None:
    net = Net(0, x=["n", 6])
    weight, bias = net.constant(net.normal(6, 6), "deep.weight"), net.constant(net.normal(6), "deep.bias")
    made = "x"
    for _ in range(3):
        made = net.op("Relu", net.op("Gemm", made, weight, bias, transB=1))
    before = read(load(net.bytes(made)))
    after = unshare(before)
    names = [node.inputs[1:] for node in after.nodes if node.op == "Gemm"]
    assert names == [
        ("deep.weight", "deep.bias"),
        ("deep~2.weight", "deep~2.bias"),
        ("deep~3.weight", "deep~3.bias"),
    ]
    assert after.constants["deep~2.weight"] is before.constants["deep.weight"]
    feeds = {"x": data(0, 4, 6)}
    np.testing.assert_array_equal(Runner(after)(feeds)[made], Runner(before)(feeds)[made])


def test_names_without_an_ending_are_numbered_too() -> None:
    net = Net(0, x=["n", 6])
    table = net.constant(net.normal(6, 6), "w")
    made = net.op("MatMul", net.op("MatMul", "x", table), table)
    assert sorted(unshare(read(load(net.bytes(made)))).constants) == ["w", "w~2"]


def test_single_numbers_and_indices_stay_shared() -> None:
    net = Net(0, x=["n", 6])
    one, shape = net.constant([1.0]), net.whole(-1, 6)
    made = net.op("Reshape", net.op("Add", net.op("Reshape", net.op("Add", "x", one), shape), one), shape)
    graph = read(load(net.bytes(made)))
    assert unshare(graph).nodes == graph.nodes


def test_a_constant_read_twice_by_one_node_is_one() -> None:
    net = Net(0, x=["n", 6])
    weight = net.constant(net.normal(6, 6), "w")
    made = net.op("MatMul", "x", net.op("MatMul", weight, weight))
    graph = read(load(net.bytes(made)))
    assert unshare(graph).nodes == graph.nodes
