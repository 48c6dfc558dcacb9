"""Graphs that would read other files, or work without end, are refused before any engine sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from intact.engine.spec import graph_of
from intact.errors import ModelError
from intact.graph.program import Program

BODY = helper.make_graph([], "body", [], [])
SMALL = numpy_helper.from_array(np.zeros(2, np.float32), "small")


def outside(name: str = "secret", location: str = "/etc/passwd") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def program(*nodes: onnx.NodeProto, initializers: Any = (), tensors: Any = None, **more: Any) -> Program:
    graph = helper.make_graph(nodes, "graph", [], [], initializers)
    return Program(model=helper.make_model(graph, **more).SerializeToString(), tensors=tensors or {})


def attribute(name: str, value: Any) -> onnx.NodeProto:
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(helper.make_attribute(name, value))
    return node


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("If", ["c"], ["y"], then_branch=BODY, else_branch=BODY),
        helper.make_node("Loop", ["n", "c"], ["y"], body=BODY),
        helper.make_node("Scan", ["x"], ["y"], body=BODY, num_scan_inputs=1),
        helper.make_node("Relu", ["x"], ["y"], hidden=[BODY]),
    ],
)
def test_graphs_within_nodes_are_refused(node: onnx.NodeProto) -> None:
    with pytest.raises(ModelError, match="holds a graph of its own"):
        graph_of(program(node))


@pytest.mark.parametrize(
    "node",
    [
        attribute("value", outside()),
        attribute("values", [SMALL, outside()]),
        attribute("value", helper.make_sparse_tensor(outside(), numpy_helper.from_array(np.zeros(2, np.int64)), [9])),
        attribute("value", helper.make_sparse_tensor(SMALL, outside(), [9])),
        attribute("values", [helper.make_sparse_tensor(outside(), SMALL, [9])]),
    ],
)
def test_attributes_that_lie_in_files_are_refused(node: onnx.NodeProto) -> None:
    with pytest.raises(ModelError, match="refers to another file"):
        graph_of(program(node))


def test_an_attribute_is_searched_whatever_type_it_claims() -> None:
    node = attribute("value", outside())
    node.attribute[0].type = onnx.AttributeProto.INT
    with pytest.raises(ModelError, match="refers to another file"):
        graph_of(program(node))


@pytest.mark.parametrize("location", ["secret.bin", "/etc/passwd", "../w", ""])
def test_an_initializer_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(ModelError, match="initializer 'w' refers to data outside the artifact"):
        graph_of(program(initializers=[outside("w", location)], tensors={"w": np.zeros(2, np.float32)}))


def test_an_initializer_may_refer_to_nothing_but_its_tensor() -> None:
    right = outside("w", "w")
    graph_of(program(initializers=[right], tensors={"w": np.zeros(2, np.float32)}))
    offset, inline = outside("w", "w"), outside("w", "w")
    offset.external_data.add(key="offset", value="4096")
    inline.data_location = TensorProto.DEFAULT
    for wrong in (offset, inline):
        with pytest.raises(ModelError, match="refers to data outside"):
            graph_of(program(initializers=[wrong], tensors={"w": np.zeros(2, np.float32)}))


def test_functions_training_sparse_foreign_and_random_are_refused() -> None:
    function = helper.make_function("strange", "F", ["x"], ["y"], [], [])
    with pytest.raises(ModelError, match="local functions"):
        graph_of(program(functions=[function]))
    sparse = program()
    model = onnx.load_from_string(sparse.model)
    model.graph.sparse_initializer.add()
    with pytest.raises(ModelError, match="sparse initializers"):
        graph_of(Program(model=model.SerializeToString(), tensors={}))
    with pytest.raises(ModelError, match="domain 'strange'"):
        graph_of(program(helper.make_node("Relu", ["x"], ["y"], domain="strange")))
    with pytest.raises(ModelError, match="random"):
        graph_of(program(helper.make_node("RandomNormal", [], ["y"], shape=[2])))


def sized(op: str, *operands: Any, **attributes: Any) -> Program:
    """A node whose operands are constants, the None among them not."""
    held = [(f"c{i}", np.asarray(value)) for i, value in enumerate(operands) if value is not None]
    names = ["x" if value is None else f"c{i}" for i, value in enumerate(operands)]
    constants = [numpy_helper.from_array(value, name) for name, value in held]
    return program(helper.make_node(op, names, ["y"], **attributes), initializers=constants)


@pytest.mark.parametrize(
    "bomb",
    [
        sized("ConstantOfShape", [40000, 40000]),
        sized("ConstantOfShape", [2**62, 2**62, 0]),
        sized("Expand", None, [1, 2**29]),
        sized("Tile", None, [2**15, 2**15]),
        sized("Resize", None, [0.0], np.float32([1, 1e9])),
        sized("Resize", None, [0.0], np.float32([]), [1, 1, 2**20, 2**20]),
        sized("Range", 0, 2**40, 1),
        sized("Range", 0.0, 1.0, 0.0),
        sized("Range", 0.0, 1.0, np.nan),
        sized("Pad", None, [0, 2**15, 2**15, 2**15]),
        sized("OneHot", None, 2**40, [0, 1]),
        sized("ConvTranspose", None, None, output_shape=[2**20, 2**20]),
    ],
)
def test_constant_shapes_without_measure_are_refused(bomb: Program) -> None:
    with pytest.raises(ModelError, match="asks for .* elements, more than 268435456"):
        graph_of(bomb)


def test_a_constant_node_is_looked_through() -> None:
    shape = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([2**40])))
    ints = helper.make_node("Constant", [], ["s"], value_ints=[2**20, 2**20])
    for node in (shape, ints):
        with pytest.raises(ModelError, match="asks for"):
            graph_of(program(node, helper.make_node("ConstantOfShape", ["s"], ["y"])))


def test_constants_that_are_not_what_they_say_are_refused() -> None:
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40])
    with pytest.raises(ModelError, match="constant 'w' has shape"):
        graph_of(program(initializers=[huge]))
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[9], raw_data=b"1234")
    with pytest.raises(ModelError, match="constant 'w' cannot be read"):
        graph_of(program(initializers=[short]))


@pytest.mark.parametrize(
    "fine",
    [
        sized("ConstantOfShape", [0, 2**20]),
        sized("Expand", None, [1, 512]),
        sized("Reshape", None, [-1, 0, 768]),
        sized("Range", 0, 512, 1),
        sized("Range", 0, -512, 1),
        sized("Pad", None, [0, 0, -2, -2, 0, 0, 1, 1]),
        sized("Resize", None, np.float32([]), np.float32([1, 1, 2, 2])),
        sized("Tile", None, None),
    ],
)
def test_what_models_do_is_let_through(fine: Program) -> None:
    graph_of(fine)
