"""Where two programs differ, told by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact.errors import IntegrityError
from intact.graph.program import Program
from intact.pipeline.differences import count, differences
from intact.pipeline.drafting import draft
from intact.pipeline.options import silent
from support.nets import cnn, data

MADE = draft(intact.Spec(model=cnn(), calibration=data(1, 32, 3, 8, 8)), intact.Recipe(), silent)
LAYERS = [step.layer for step in MADE.plan.layers]


def changed(name: str, place: int, by: int = 1) -> Program:
    tensors = {key: value.copy() for key, value in MADE.program.tensors.items()}
    tensors[name].reshape(-1)[place] += np.int8(by)
    return Program(model=MADE.program.model, tensors=tensors)


def inside(change: Any) -> Program:
    proto = onnx.load_from_string(MADE.program.model)
    change(proto.graph)
    return Program(model=proto.SerializeToString(deterministic=True), tensors=MADE.program.tensors)


def test_a_program_does_not_differ_from_itself() -> None:
    again = Program(model=MADE.program.model, tensors={k: v.copy() for k, v in MADE.program.tensors.items()})
    assert differences(again, MADE.program, LAYERS) == []
    tensors, values = count(MADE.program)
    assert tensors > len(MADE.program.tensors) > 1 and values > sum(v.size for v in MADE.program.tensors.values())


@given(st.data())
def test_one_changed_integer_is_found_and_named(drawn: st.DataObject) -> None:
    names = sorted(name for name, value in MADE.program.tensors.items() if value.dtype == np.int8)
    name = drawn.draw(st.sampled_from(names))
    place = drawn.draw(st.integers(0, MADE.program.tensors[name].size - 1))
    (found,) = differences(changed(name, place), MADE.program, LAYERS)
    assert (found.name, found.what, found.differing) == (name, "values", 1)
    assert found.total == MADE.program.tensors[name].size and found.layer and name.startswith(f"{found.layer}.")
    assert f"layer '{found.layer}', tensor '{name}': 1 of" in found.line()


def test_differences_come_in_the_order_of_the_layers() -> None:
    names = [f"{layer}.w" for layer in LAYERS if f"{layer}.w" in MADE.program.tensors]
    tensors = {key: value + np.int8(1) if key in names else value for key, value in MADE.program.tensors.items()}
    found = differences(Program(model=MADE.program.model, tensors=tensors), MADE.program, LAYERS)
    assert [each.name for each in found] == names and len(names) > 1


def test_floats_are_compared_by_their_bits() -> None:
    proto = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))

    def of(*values: float) -> Program:
        return Program(model=proto.SerializeToString(), tensors={"s": np.array(values, np.float32)})

    assert differences(of(np.nan, 1), of(np.nan, 1), []) == []
    (found,) = differences(of(0.0, 1), of(-0.0, 1), [])
    assert (found.differing, found.largest) == (1, 0.0)
    (found,) = differences(of(np.nan, 1), of(0, 3), [])
    assert (found.differing, found.largest) == (2, None)


def test_parts_of_the_graph_are_told_apart() -> None:
    def other_node(graph: Any) -> None:
        graph.node[2].attribute.add(name="extra", type=onnx.AttributeProto.INT, i=1)

    def more_nodes(graph: Any) -> None:
        graph.node.add(op_type="Identity", input=["x"], output=["y"])

    def other_bias(graph: Any) -> None:
        tensor = next(each for each in graph.initializer if each.name.endswith(".b"))
        value = onnx.numpy_helper.to_array(tensor).copy()
        value.reshape(-1)[0] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))

    def remark(graph: Any) -> None:
        graph.doc_string = "hello"

    for change, what in ((other_node, "node"), (more_nodes, "unexpected"), (other_bias, "values"), (remark, "graph")):
        (found,) = differences(inside(change), MADE.program, LAYERS)
        assert found.what == what and found.line()


def test_missing_and_unexpected_tensors_and_shapes() -> None:
    name = f"{LAYERS[0]}.w"
    tensors = dict(MADE.program.tensors)
    value = tensors.pop(name)
    whats = {}
    for other in ({}, {name: value.reshape(-1)}, {name: value, "more": value}):
        found = differences(Program(model=MADE.program.model, tensors={**tensors, **other}), MADE.program, LAYERS)
        whats[len(whats)] = [each.what for each in found]
    assert whats == {0: ["missing"], 1: ["type or shape"], 2: ["unexpected"]}


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no ONNX graph"):
        differences(Program(model=b"\xff\xff", tensors={}), MADE.program, LAYERS)
