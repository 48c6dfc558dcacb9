"""What must hold of the float model before it is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intact.errors import ModelError
from intact.graph.load import load
from intact.graph.run import Runner
from intact.graph.view import Graph, read
from intact.pipeline.float_checks import refuse_changed, rows_are_apart
from support.nets import Net, data, mlp

X = {"x": data(0, 6, 8)}


def graph(model: bytes) -> Graph:
    return read(load(model))


def apart(net: Net, output: str, feeds: dict[str, np.ndarray] | None = None) -> bool:
    made = graph(net.bytes(output))
    return rows_are_apart(Runner(made), made.inputs, feeds or X)


def test_another_function_is_refused_and_the_same_is_not() -> None:
    before = graph(mlp())
    refuse_changed(Runner(before), Runner(before), X)
    shifted = replace(before, constants={**before.constants, "last.bias": before.constants["last.bias"] + 1})
    with pytest.raises(ModelError, match="normalising changed output 'gemm2'"):
        refuse_changed(Runner(before), Runner(shifted), X)


def test_another_shape_is_another_function() -> None:
    first, second = Net(0, x=["n", 8]), Net(0, x=["n", 8])
    flat = first.op("Reshape", "x", first.whole(-1))
    with pytest.raises(ModelError, match="normalising changed"):
        refuse_changed(
            Runner(graph(first.bytes(flat))),
            Runner(graph(second.bytes(second.op("Reshape", "x", second.whole(-1, 1))))),
            X,
        )


def test_rows_of_a_plain_net_are_apart() -> None:
    made = graph(mlp())
    assert rows_are_apart(Runner(made), made.inputs, X)


def test_rows_that_meet_are_not_apart() -> None:
    net = Net(0, x=["n", 8])
    assert not apart(net, net.op("Softmax", "x", axis=0))
    net = Net(0, x=["n", 8])
    assert not apart(net, net.op("ReduceMean", "x", net.whole(0), keepdims=1))
    net = Net(0, x=["n", 8])
    assert not apart(net, net.op("ReduceMean", "x", keepdims=0))
    net = Net(0, x=["n", 8])
    assert not apart(net, net.op("Transpose", "x"))


def test_a_fixed_batch_or_a_single_row_shows_nothing() -> None:
    net = Net(0, x=[6, 8])
    assert not apart(net, net.op("Relu", "x"))
    net = Net(0, x=["n", 8])
    assert not apart(net, net.op("Relu", "x"), {"x": data(0, 1, 8)})
