"""Running a float graph."""

from __future__ import annotations

import numpy as np
import pytest

from intact.errors import DataError, ModelError
from intact.graph.load import load
from intact.graph.run import Runner, batches, is_batched, run_in_batches
from intact.graph.view import Graph, Port, read
from support.nets import Net, data, mlp

X = data(0, 10, 8)


def graph() -> Graph:
    return read(load(mlp()))


def test_any_value_inside_can_be_fetched() -> None:
    values = Runner(graph(), fetch=["relu1", "gemm0", "gemm2"])({"x": X})
    np.testing.assert_array_equal(values["relu1"], np.maximum(values["gemm0"], 0))


def test_batches_give_the_whole() -> None:
    runner = Runner(graph())
    np.testing.assert_allclose(
        run_in_batches(runner, {"x": X}, 3)["gemm2"], runner({"x": X})["gemm2"], rtol=1e-5, atol=1e-6
    )
    assert [len(piece["x"]) for piece in batches({"x": X}, 4)] == [4, 4, 2]


def test_wrong_sizes_are_told_as_a_fault_of_the_data() -> None:
    with pytest.raises(DataError, match="does not run on these inputs"):
        Runner(graph())({"x": X[:, :3]})


def test_a_graph_that_cannot_run_is_a_fault_of_the_model() -> None:
    net = Net(0, x=["n", 8])
    with pytest.raises(ModelError, match="the float model does not run"):
        Runner(read(net.proto(net.op("Conv", "x", net.constant(net.normal(2, 8, 1, 1))))))


def test_failures_do_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError):
        Runner(graph())({"x": X[:, :3]})
    assert capfd.readouterr().err == ""


def test_rows_may_vary_only_where_the_first_size_has_a_name() -> None:
    def port(*shape: int | str) -> Port:
        return Port(name="x", dtype=np.dtype(np.float32), shape=shape)

    assert is_batched([port("n", 3), port("n")])
    assert not is_batched([port("n", 3), port(4, 3)])
    assert not is_batched([port()])
