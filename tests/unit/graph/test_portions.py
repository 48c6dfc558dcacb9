"""Running many rows with a bound on what is fetched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.graph.load import load
from intact.graph.portions import Portions
from intact.graph.run import Runner
from intact.graph.view import Graph, read
from support.nets import Net, data, mlp

X = data(0, 50, 8)
ROW_BYTES = 16 * 4
"""What a row of the values fetched takes."""


def graph() -> Graph:
    return read(load(mlp()))


@settings(max_examples=20, deadline=None)
@given(most=st.integers(1, 60 * ROW_BYTES), rows=st.integers(1, 50))
def test_portions_give_every_row_once_and_fetch_no_more_than_asked(most: int, rows: int) -> None:
    found = list(Portions(Runner(graph(), fetch=["relu1"]), graph().inputs, most).run({"x": X[:rows]}))
    assert [each.start for each in found] == list(np.cumsum([0, *(each.rows for each in found[:-1])]))
    assert all(each.values["relu1"].nbytes <= max(most, ROW_BYTES) for each in found)
    np.testing.assert_array_equal(np.concatenate([each.feeds["x"] for each in found]), X[:rows])
    values = np.concatenate([each.values["relu1"] for each in found])
    np.testing.assert_allclose(values, Runner(graph(), fetch=["relu1"])({"x": X[:rows]})["relu1"], rtol=1e-5, atol=1e-6)


def test_what_one_run_fetched_sets_the_size_of_the_next() -> None:
    portions = Portions(Runner(graph(), fetch=["relu1"]), graph().inputs, 10 * ROW_BYTES)
    assert [each.rows for each in portions.run({"x": X[:25]})] == [1, 10, 10, 4]
    assert [each.rows for each in portions.run({"x": X[:15]})] == [10, 5]


def test_a_fixed_batch_is_not_cut() -> None:
    net = Net(0, x=[20, 8])
    fixed = read(load(net.bytes(net.op("Relu", "x"))))
    (found,) = Portions(Runner(fixed), fixed.inputs, 1).run({"x": X[:20]})
    assert (found.start, found.rows) == (0, 20)


@pytest.mark.parametrize("rows", [1, 7])
def test_where_nothing_is_fetched_the_inputs_come_back(rows: int) -> None:
    found = list(Portions(Runner(graph(), fetch=[]), graph().inputs).run({"x": X[:rows]}))
    assert sum(each.rows for each in found) == rows
    assert not any(each.values for each in found)
