"""A model made to break engines that saturate or round otherwise, whatever the model in hand happens to exercise.

Every kind of integer kernel is driven with codes at 255 and weights at +-127: 16-bit sums of two products overflow there,
which is how x86 hosts without VNNI go wrong. Residual additions and poolings of codes meet ties.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from intact.engine.backend import Backend, Options
from intact.engine.vectors import digest
from intact.errors import CheckFailed
from intact.graph.program import Program

EXPECTED: Final = ""
"""Digest of the definition's output, which a test derives again."""

ROWS: Final = 2
CHANNELS: Final = 16
SIDE: Final = 6


def canary() -> Program:
    """Return the model: codes x (n, 16, 6, 6) to float32 y (n, 24)."""
    return Program.from_proto(_Sketch().model())


def codes() -> NDArray[np.uint8]:
    """Return its input: one row of random codes, one at the largest code."""
    drawn = _draw("codes", (ROWS, CHANNELS, SIDE, SIDE)).astype(np.uint8)
    drawn[1] = 255
    return drawn


@lru_cache
def check(backend: Backend, variant: str) -> None:
    """Load and run the canary, once in a process for each engine and variant.

    Raises:
        CheckFailed: Its output differs from the definition.
        EngineError: The engine failed.
    """
    session = backend.load(canary(), Options(threads=1), variant)
    if digest(session.run({"x": codes()})["y"]) != EXPECTED:
        raise CheckFailed(
            f"engine {session.name} does not conform on this host: its integer sums saturate or round otherwise",
            hint="this is usual for x86 processors without VNNI; another variant or engine is tried",
        )


class _Sketch:
    """Collects the nodes; every method returns the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        x = self._codes("x", 0, 0)
        a = self._settle(self._conv(x, "dense", (CHANNELS, CHANNELS, 3, 3), pads=[1] * 4), 13, 128)
        b = self._settle(self._conv(x, "point", (CHANNELS, CHANNELS, 1, 1)), 10, 0)
        c = self._settle(self._conv(b, "depth", (CHANNELS, 1, 3, 3), group=CHANNELS, pads=[1] * 4), 8 + 10, 0, 10)
        total = self._settle(self._node("Add", [a, c]), 14, 0)
        pooled = self._settle(self._node("AveragePool", [total], kernel_shape=[2, 2], strides=[2, 2]), 14, 128)
        wide = self._settle(self._node("Concat", [pooled, self._settle(pooled, 15, 0)], axis=1), 15, 0)
        flat = self._flat(wide, 15)
        y = self._dense("Gemm", flat, "gemm", (2 * CHANNELS * SIDE * SIDE // 4, 8), 15)
        z = self._dense("MatMul", self._flat(b, 10), "matmul", (CHANNELS * SIDE * SIDE, 16), 10)
        self.nodes.append(helper.make_node("Concat", [y, z], ["y"], axis=1))
        shape = ["n", CHANNELS, SIDE, SIDE]
        inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24])]
        graph = helper.make_graph(self.nodes, "canary", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def _node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name
