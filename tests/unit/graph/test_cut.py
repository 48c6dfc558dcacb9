"""The part of a graph that computes a few of its values."""

from __future__ import annotations

import numpy as np

from intact.graph.cut import upto
from intact.graph.load import load
from intact.graph.run import Runner
from intact.graph.view import Graph, Port, read
from support.nets import Net, data

X = data(0, 5, 6)


def graph() -> Graph:
    """Two halves of the input, each through a layer; their sum through another."""
    net = Net(0, x=["n", 6])
    first, second = net.op("Split", "x", outputs=2, axis=1, num_outputs=2)
    left, right = (net.op("MatMul", half, net.constant(net.normal(3, 4))) for half in (first, second))
    total = net.op("Add", left, right)
    return read(load(net.bytes(net.op("MatMul", total, net.constant(net.normal(4, 2))))))


def port(name: str, *shape: int | str) -> Port:
    return Port(name=name, dtype=np.dtype(np.float32), shape=shape)


def test_only_what_a_value_depends_on_stays() -> None:
    part = upto(graph(), ["matmul1"])
    assert [node.output for node in part.nodes] == ["split0_0", "matmul1"]
    assert len(part.constants) == 1


def test_what_is_given_need_not_be_computed() -> None:
    values = Runner(graph(), fetch=["matmul1", "matmul2", "matmul4"])({"x": X})
    given = [port("matmul1", "n", 4), port("matmul2", "n", 4), port("unused", "n", 4)]
    part = upto(graph(), ["matmul4"], given=given)
    assert [node.op for node in part.nodes] == ["Add", "MatMul"]
    assert [each.name for each in part.inputs] == ["x", "matmul1", "matmul2"]
    found = Runner(part, fetch=["matmul4"])({"x": X, "matmul1": values["matmul1"], "matmul2": values["matmul2"]})
    np.testing.assert_allclose(found["matmul4"], values["matmul4"], rtol=1e-6)


def test_what_a_node_makes_beside_a_wanted_value_is_no_input() -> None:
    part = upto(graph(), ["matmul2"], given=[port("split0_0", "n", 3)])
    assert [each.name for each in part.inputs] == ["x"]
    np.testing.assert_array_equal(
        Runner(part, fetch=["matmul2"])({"x": X})["matmul2"],
        Runner(graph(), fetch=["matmul2"])({"x": X})["matmul2"],
    )
