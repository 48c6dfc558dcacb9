"""What is known of the values inside a graph."""

from __future__ import annotations

import numpy as np

from intact.graph.load import load
from intact.graph.shapes import infer_dtypes, infer_shapes
from intact.graph.view import read
from support.nets import Net


def test_shapes_and_dtypes_of_inner_values() -> None:
    net = Net(0, x=["n", 3, 8, 8])
    made = net.conv("x", net.normal(40, 3, 3, 3), net.normal(40))  # more than is written out for the inference
    sizes = net.op("Shape", made)
    flat = net.op("Reshape", made, net.op("Concat", net.op("Gather", sizes, net.whole(0)), net.whole(-1), axis=0))
    graph = read(load(net.bytes(flat, net.op("Cast", net.op("Greater", made, net.constant(0.0)), to=1))))
    shapes, dtypes = infer_shapes(graph), infer_dtypes(graph)
    assert shapes[made] == ("n", 40, 6, 6)
    assert shapes["layer0.weight"] == (40, 3, 3, 3)
    assert dtypes[made] == np.float32
    assert dtypes[sizes] == np.int64
    assert dtypes["greater5"] == np.bool_


def test_an_unknown_size_is_none_or_a_name() -> None:
    net = Net(0, x=["n", "m"])
    graph = read(load(net.bytes(net.op("Cast", net.op("NonZero", "x"), to=1))))
    shape = infer_shapes(graph)["nonzero0"]
    assert shape[0] == 2
    assert shape[1] is None or isinstance(shape[1], str)
