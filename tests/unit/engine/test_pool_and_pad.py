"""Operators at which the ONNX reference implementation fails, against plain loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.exact import execute, prepare
from intact.errors import ModelError

LAYOUTS = [
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [2, 3], "strides": [1, 2], "dilations": [2, 1], "pads": [1, 0, 0, 2], "storage_order": 1},
]


def indices(x: np.ndarray, layout: dict[str, Any]) -> np.ndarray:
    """The index of the first largest element of each window, by loops."""
    strides, dilations = layout.get("strides", [1, 1]), layout.get("dilations", [1, 1])
    pads, taps = layout.get("pads", [0] * 4), list(itertools.product(*map(range, layout["kernel_shape"])))
    (n, c, h, w), (kh, kw) = x.shape, layout["kernel_shape"]
    rows = (h + pads[0] + pads[2] - (kh - 1) * dilations[0] - 1) // strides[0] + 1
    columns = (w + pads[1] + pads[3] - (kw - 1) * dilations[1] - 1) // strides[1] + 1
    out = np.empty((n, c, rows, columns), np.int64)
    for a, b, i, j in np.ndindex(*out.shape):
        places = [
            (i * strides[0] + p * dilations[0] - pads[0], j * strides[1] + q * dilations[1] - pads[1]) for p, q in taps
        ]
        inside = [(y, z) for y, z in places if 0 <= y < h and 0 <= z < w]
        y, z = max(inside, key=lambda place: x[a, b, place[0], place[1]])
        out[a, b, i, j] = (a * c + b) * h * w + (y + z * h if layout.get("storage_order") else y * w + z)
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["float", "codes", "exact"])
def test_the_indices_of_a_maximum(layout: dict[str, Any], kind: str) -> None:
    x = np.random.default_rng(0).integers(0, 4, (2, 3, 6, 7)).astype(np.float32 if kind == "float" else np.uint8)
    graph = Graph()
    value = graph.input("x", ["n", 3, 6, 7], TensorProto.FLOAT if kind == "float" else TensorProto.UINT8)
    value = graph.dequantize(value, 0.5, 0) if kind == "exact" else value
    pooled, where = graph.node("MaxPool", [value], 2, **layout)
    graph.output(pooled, kind=TensorProto.UINT8 if kind == "codes" else TensorProto.FLOAT)
    graph.output(where, "i", TensorProto.INT64)
    trace = execute(prepare(graph.program()), {"x": x})
    wanted = indices(x, layout)
    plain = x.transpose(0, 1, 3, 2) if layout.get("storage_order") else x
    values = plain.reshape(-1)[wanted] * (np.float32(0.5) if kind == "exact" else x.dtype.type(1))
    assert np.array_equal(trace.outputs["i"], wanted)
    assert np.array_equal(trace.outputs["y"], values) and trace.outputs["y"].dtype == values.dtype
    assert trace.notes.departures == ()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("mode", "numpy_mode"), [("constant", "constant"), ("edge", "edge"), ("reflect", "reflect")])
def test_negative_pads_remove(mode: str, numpy_mode: Any, exact: bool) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    graph = Graph()
    value = graph.input("x", ["n", 3, 8, 8], TensorProto.UINT8)
    value = graph.dequantize(value, 0.5, 0) if exact else value
    padded = graph.node("Pad", [value, graph.constant(np.array([0, 0, -1, 1, 0, 0, 2, -1]))], mode=mode)
    graph.output(padded, kind=TensorProto.FLOAT if exact else TensorProto.UINT8)
    found = execute(prepare(graph.program()), {"x": x}).outputs["y"]
    wanted = np.pad(x[:, :, 1:, :-1], [(0, 0), (0, 0), (0, 2), (1, 0)], mode=numpy_mode)
    assert np.array_equal(found, wanted * np.float32(0.5) if exact else wanted)


def test_negative_pads_of_named_axes() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 12)
    graph = Graph()
    operands = [graph.input("x", ["n", 12]), graph.constant(np.array([-2, 3])), "", graph.constant(np.array([-1]))]
    graph.output(graph.node("Pad", operands))
    found = execute(prepare(graph.program()), {"x": x}).outputs["y"]
    assert np.array_equal(found, np.pad(x[:, 2:], [(0, 0), (0, 3)]))


def test_pads_that_remove_more_than_there_is_are_refused() -> None:
    graph = Graph()
    graph.output(graph.node("Pad", [graph.input("x", ["n", "m"]), graph.constant(np.array([0, -2, 0, -2]))]))
    with pytest.raises(ModelError, match="removes 4 of 3 elements along axis 1"):
        execute(prepare(graph.program()), {"x": np.zeros((1, 3), np.float32)})
