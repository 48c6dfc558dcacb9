"""Random integer graphs of the exact profile, kept within the limits that the emitter must keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto
from qdq_graph import Graph

INPUT_SHAPE = (3, 10, 10)


@dataclass(frozen=True)
class Edge:
    """A value, its codes with their exponent and zero point, and its shape without the rows."""

    name: str
    codes: str
    exponent: int
    zero_point: int
    shape: tuple[int, ...]


class Grower:
    """Grows a random graph; the same seed gives the same graph."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph()

    def pick(self, *choices):
        return choices[int(self.random.integers(len(choices)))]

    def start(self) -> Edge:
        zero = self.pick(0, 7, 114, 128)
        scale = float(self.random.uniform(0.005, 0.05))
        x = self.graph.input("x", ["n", *INPUT_SHAPE])
        return self.edge(self.graph.quantize(x, scale, zero), -6, zero, INPUT_SHAPE)

    def edge(self, codes: str, exponent: int, zero_point: int, shape: tuple[int, ...]) -> Edge:
        name = self.graph.dequantize(codes, 2.0**exponent, zero_point)
        return Edge(name, codes, exponent, zero_point, shape)

    def settle(self, value: str, typical: float, shape: tuple[int, ...], *, relu: bool = False) -> Edge:
        """Quantize with an exponent that puts `typical` near the end of the range, with a few saturating."""
        if relu:
            value = self.graph.node("Relu", [value])
        zero = 0 if relu else self.pick(0, 128, 128, 90)
        exponent = int(np.floor(np.log2(max(typical, 2.0**-20) * 2 / 256)))
        return self.edge(self.graph.quantize(value, 2.0**exponent, zero), exponent, zero, shape)

    def conv(self, x: Edge) -> Edge:
        channels, height, _ = x.shape
        groups = self.pick(1, 1, channels)
        out = groups * (1 if groups > 1 else int(self.random.integers(2, 9)))
        taps, stride, dilation = self.pick(1, 3), self.pick(1, 1, 2), self.pick(1, 1, 2)
        pad = self.pick(0, (taps - 1) * dilation // 2)
        if height + 2 * pad < (taps - 1) * dilation + 1:
            return x
        w = self.random.integers(-127, 128, (out, channels // groups, taps, taps))
        exponents = self.random.integers(-9, -5, out)
        b = self.random.integers(-3000, 3000, out)
        operands = [x.name, self.graph.weight(w, exponents)]
        if self.pick(True, True, False):
            operands.append(self.graph.bias(b, exponents + x.exponent))
        value = self.graph.node(
            "Conv", operands, group=groups, strides=[stride] * 2, dilations=[dilation] * 2, pads=[pad] * 4
        )
        side = (height + 2 * pad - (taps - 1) * dilation - 1) // stride + 1
        typical = 60 * 73 * np.sqrt(w[0].size) * 2.0 ** (x.exponent - 7)
        return self.settle(value, typical, (out, side, side), relu=self.pick(True, False))

    def add(self, x: Edge, y: Edge) -> Edge:
        typical = 128.0 * max(2.0**x.exponent, 2.0**y.exponent)
        return self.settle(self.graph.node("Add", [x.name, y.name]), typical, x.shape, relu=self.pick(True, False))

    def concat(self, x: Edge, y: Edge) -> Edge:
        typical = 128.0 * max(2.0**x.exponent, 2.0**y.exponent)
        shape = (x.shape[0] + y.shape[0], *x.shape[1:])
        return self.settle(self.graph.node("Concat", [x.name, y.name], axis=1), typical, shape)

    def max_pool(self, x: Edge) -> Edge:
        if x.shape[1] < 2:
            return x
        side = (x.shape[1] - 2) // 2 + 1
        value = self.graph.node("MaxPool", [x.name], kernel_shape=[2, 2], strides=[2, 2])
        return self._same(value, x, (x.shape[0], side, side))

    def average_pool(self, x: Edge) -> Edge:
        if x.shape[1] < 2:
            return x
        side = x.shape[1] - 1
        value = self.graph.node("AveragePool", [x.name], kernel_shape=[2, 2])
        return self._same(value, x, (x.shape[0], side, side))

    def pad(self, x: Edge) -> Edge:
        pads = self.graph.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
        value = self.graph.node("Pad", [x.name, pads, self.graph.constant(np.float32(0))])
        return self._same(value, x, (x.shape[0], x.shape[1] + 1, x.shape[2] + 1))

    def lookup(self, x: Edge) -> Edge:
        """A unary function as a table of 256 codes."""
        index = self.graph.node("Cast", [x.codes], to=TensorProto.INT32)
        table = self.graph.constant(self.random.integers(0, 256, 256).astype(np.uint8))
        exponent, zero = x.exponent + self.pick(-1, 0, 1), self.pick(0, 128)
        return self.edge(self.graph.node("Gather", [table, index]), exponent, zero, x.shape)

    def _same(self, value: str, x: Edge, shape: tuple[int, ...]) -> Edge:
        codes = self.graph.quantize(value, 2.0**x.exponent, x.zero_point)
        return self.edge(codes, x.exponent, x.zero_point, shape)

    def finish(self, x: Edge) -> None:
        """Pool, flatten codes, and multiply by a last matrix with a float32 result."""
        if x.shape[1] in (1, 2, 3, 4, 5, 7, 8, 9) and self.pick(True, False):
            x = self._same(self.graph.node("GlobalAveragePool", [x.name]), x, (x.shape[0], 1, 1))
        depth, out = int(np.prod(x.shape)), 5
        flat = self.graph.dequantize(self.graph.node("Flatten", [x.codes]), 2.0**x.exponent, x.zero_point)
        w = self.random.integers(-40, 41, (depth, out))
        exponents = self.random.integers(-9, -5, out)
        b = self.random.integers(-3000, 3000, out)
        if self.pick(True, False):
            operands = [flat, self.graph.weight(w, exponents, 1), self.graph.bias(b, exponents + x.exponent)]
            value = self.graph.node("Gemm", operands)
        else:
            value = self.graph.node("MatMul", [flat, self.graph.weight(w, exponents, 1)])
        self.graph.output(value)


def grow(seed: int, size: int = 6) -> Graph:
    """Return a random exact graph with input x (n, 3, 10, 10) and output y (n, 5)."""
    grower = Grower(seed)
    edges = [grower.conv(grower.start())]
    for _ in range(size):
        x = edges[-1]
        same = [edge for edge in edges if edge.shape == x.shape]
        beside = [edge for edge in edges[:-1] if edge.shape[1:] == x.shape[1:] and edge.shape[0] + x.shape[0] < 40]
        step = grower.pick("conv", "conv", "add", "concat", "max_pool", "average_pool", "pad", "lookup")
        if step == "add":
            edges.append(grower.add(x, grower.pick(*same)))
        elif step == "concat" and beside:
            edges.append(grower.concat(x, grower.pick(*beside)))
        elif step != "concat":
            edges.append(getattr(grower, step)(x))
    grower.finish(edges[-1])
    return grower.graph


def sample(seed: int, rows: int = 3) -> np.ndarray:
    """Return inputs that reach both ends of the input quantizer and lie in between."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(rows, *INPUT_SHAPE)) * random.choice([0.5, 2, 6], (rows, 1, 1, 1))).astype(np.float32)
