"""A model made to break engines that saturate or round otherwise, whatever the model in hand happens to exercise.

Every kind of integer kernel is driven with codes at 255 and weights at +-127. 16-bit sums of two products overflow
there, which is how x86 hosts without VNNI go wrong. Residual additions and poolings of codes meet ties.
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

EXPECTED: Final = "11633b3a51839505c3f8e5614691264d3336664f676156f426d02c2aef25e078"
"""Digest of the definition's output, which a test derives again."""

ROWS: Final = 2
CHANNELS: Final = 16
SIDE: Final = 6


def canary() -> Program:
    """Return the model: codes x (n, 16, 6, 6) to float32 y (n, 24)."""
    return Program.from_proto(_Sketch().model())


def codes() -> NDArray[np.uint8]:
    """Return its input: one row of random codes, one at the largest code."""
    drawn = _draw("codes", (ROWS, CHANNELS, SIDE, SIDE)).copy()
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
        """Return convolutions (dense, 1x1, depthwise), an addition, a pooling, a concatenation and two products."""
        c, flat_size = CHANNELS, CHANNELS * SIDE * SIDE
        x = self._real("x", 0, 0)
        dense = self._settle(self._conv(x, (c, c, 3, 3), -15, pads=[1] * 4), 0, 128)
        point = self._settle(self._conv(x, (c, c, 1, 1), -12), 0, 0)
        depth = self._settle(self._conv(point, (c, 1, 3, 3), -10, group=c, pads=[1] * 4), 0, 0)
        total = self._settle(self._node("Add", [dense, depth]), 1, 0)
        pooled = self._settle(self._node("AveragePool", [total], kernel_shape=[2, 2], strides=[2, 2]), 1, 128)
        coarse = self._settle(self._node("AveragePool", [point], kernel_shape=[2, 2], strides=[2, 2]), 0, 0)
        joined = self._node("Concat", [pooled, coarse], axis=1)
        gemm = self._product("Gemm", self._flat(joined, 1, 128), (flat_size // 2, 8))
        matmul = self._product("MatMul", self._flat(point, 0, 0), (flat_size, 16))
        self.nodes.append(helper.make_node("Concat", [gemm, matmul], ["y"], axis=1))
        inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", c, SIDE, SIDE])]
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

    def _scaling(self, exponent: int, zero_point: int) -> list[str]:
        return [self._constant(np.float32(2.0**exponent)), self._constant(np.uint8(zero_point))]

    def _real(self, codes: str, exponent: int, zero_point: int) -> str:
        return self._node("DequantizeLinear", [codes, *self._scaling(exponent, zero_point)])

    def _settle(self, value: str, exponent: int, zero_point: int) -> str:
        codes = self._node("QuantizeLinear", [value, *self._scaling(exponent, zero_point)])
        return self._real(codes, exponent, zero_point)

    def _flat(self, value: str, exponent: int, zero_point: int) -> str:
        codes = self._node("QuantizeLinear", [value, *self._scaling(exponent, zero_point)])
        return self._real(self._node("Flatten", [codes]), exponent, zero_point)

    def _weight(self, shape: tuple[int, ...], exponent: int, axis: int) -> str:
        """Three in four at +127, the rest anywhere: neighbouring products overflow 16 bits, their sum fits 24."""
        drawn = _draw(f"weight{len(self.constants)}", (2, *shape)).astype(np.int64)
        weight = np.where(drawn[0] % 4 > 0, 127, drawn[1] % 255 - 127).astype(np.int8)
        channels = shape[axis]
        scale, zero = np.full(channels, 2.0**exponent, np.float32), np.zeros(channels, np.int8)
        operands = [self._constant(weight), self._constant(scale), self._constant(zero)]
        return self._node("DequantizeLinear", operands, axis=axis)

    def _conv(self, x: str, shape: tuple[int, ...], exponent: int, **attributes: Any) -> str:
        return self._node("Conv", [x, self._weight(shape, exponent, 0)], **attributes)

    def _product(self, op: str, x: str, shape: tuple[int, int]) -> str:
        return self._node(op, [x, self._weight(shape, -7, 1)])


def _draw(label: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    count = int(np.prod(shape))
    return np.frombuffer(hashlib.shake_128(f"intact/canary/1/{label}".encode()).digest(count), np.uint8).reshape(shape)
