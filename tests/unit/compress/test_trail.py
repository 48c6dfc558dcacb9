"""One value of a graph after the other, on the same data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import intact.compress.trail
from intact.compress.trail import Trail
from intact.graph.load import load
from intact.graph.run import Runner
from intact.graph.view import Graph, read
from support.nets import Net, data

PARTS = [{"x": data(0, 3, 6)}, {"x": data(1, 5, 6)}]
CHAIN = ["tanh0", "tanh1", "tanh2", "add3"]
VALUE_BYTES = 8 * 6 * 4
"""What one value of all parts takes."""


def graph() -> Graph:
    net = Net(0, x=["n", 6])
    value = "x"
    for _ in range(3):
        value = net.op("Tanh", value)
    return read(load(net.bytes(net.op("Add", value, "tanh0"))))


def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Will hold how many nodes each run had."""
    found: list[int] = []

    def counting(model: Graph, **options: Any) -> Runner:
        found.append(len(model.nodes))
        return Runner(model, **options)

    monkeypatch.setattr(intact.compress.trail, "Runner", counting)
    return found


def check(trail: Trail, name: str, keep: list[str]) -> None:
    found = list(trail.run(graph(), name, keep))
    for part, value in zip(PARTS, found, strict=True):
        np.testing.assert_array_equal(value, Runner(graph(), fetch=[name])(part)[name])


def test_each_run_goes_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = lengths(monkeypatch)
    trail = Trail(PARTS, 1 << 20)
    check(trail, "tanh1", ["tanh0", "tanh1"])
    check(trail, "tanh2", ["tanh0", "tanh2"])
    check(trail, "add3", [])
    assert ran == [2, 1, 1]


def test_what_does_not_fit_is_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = lengths(monkeypatch)
    trail = Trail(PARTS, VALUE_BYTES)
    check(trail, "tanh0", ["tanh0"])
    check(trail, "tanh2", ["tanh0", "tanh2"])  # the two are too much: what was held before stays
    check(trail, "add3", [])
    assert ran == [1, 2, 3]


def test_inputs_and_what_is_held_need_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(PARTS, 1 << 20)
    check(trail, "tanh2", ["x", "tanh2"])
    ran = lengths(monkeypatch)
    assert all(value is part["x"] for value, part in zip(trail.run(graph(), "x"), PARTS, strict=True))
    assert not ran


def test_a_held_value_stays_as_long_as_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = lengths(monkeypatch)
    trail = Trail(PARTS, 1 << 20)
    for name in CHAIN:
        check(trail, name, ["tanh0", name])
    assert ran == [1, 1, 1, 1]
