"""Weights of four bits beside the graph: every engine takes them, also from an artifact."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from intact import engine, seal
from intact.graph import Program

BLOCK = 32
BACKENDS = sorted(engine.find())


def blocked(dtype: np.dtype, columns: int) -> tuple[Program, np.ndarray]:
    """Return y = x @ w with w in blocks of four bits, and the float w."""
    rng, low = np.random.default_rng(columns), -8 if dtype == ml_dtypes.int4 else 0
    codes, zeros = (rng.integers(low, low + 16, (rows, columns)) for rows in (2 * BLOCK, 2))
    scales = np.exp2(rng.integers(-9, -5, (2, columns))).astype(np.float32)
    constants = {"w": codes.astype(dtype), "s": scales, "z": zeros.astype(dtype)}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"], axis=0, block_size=BLOCK),
            helper.make_node("MatMul", ["x", "f"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2 * BLOCK])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return Program.from_proto(model), (codes - np.repeat(zeros, BLOCK, 0)) * np.repeat(scales, BLOCK, 0)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4], ids=["int4", "uint4"])
@pytest.mark.parametrize("columns", [32, 33])
@pytest.mark.parametrize("name", BACKENDS)
def test_nibbles_beside_the_graph_run(name: str, columns: int, dtype: np.dtype, tmp_path: Path) -> None:
    program, weights = blocked(np.dtype(dtype), columns)
    assert program.tensors["w"].dtype == dtype
    seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), tmp_path / "m")
    opened = seal.read(tmp_path / "m", allow_unsigned=True).program
    assert opened.tensors["w"].dtype == dtype
    x = np.random.default_rng(0).integers(-4, 5, (3, 2 * BLOCK)).astype(np.float32)
    for given in (program, opened):
        session = engine.find()[name].load(given, engine.Options(), "default")
        np.testing.assert_array_equal(session.run({"x": x})["y"], (x @ weights).astype(np.float32))


def test_an_odd_number_of_nibbles_runs() -> None:
    table = np.arange(-8, 7).astype(ml_dtypes.int4).repeat(9)  # 135 of them, one without a partner
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [135])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [135])],
        [numpy_helper.from_array(table, "w"), numpy_helper.from_array(np.float32(0.5), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = Program.from_proto(model)
    assert "w" in found.tensors
    for backend in engine.find().values():
        y = backend.load(found, engine.Options(), "default").run({"x": np.zeros(135, np.float32)})["y"]
        np.testing.assert_array_equal(y, table.astype(np.float32) / 2)
