"""Builds small integer graphs in QDQ form, the way `compress.emit` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from intact.graph.program import Program


class Graph:
    """A graph under construction; every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.count = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def constant(self, value: Any) -> str:
        name = self.name("const")
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=self.name("node"), **attributes))
        return names[0] if outputs == 1 else names

    def input(self, name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, value: str, name: str = "y", kind: int = TensorProto.FLOAT, shape: Any = None) -> str:
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def quantize(self, x: str, scale: float, zero_point: int = 0, dtype: Any = np.uint8) -> str:
        return str(self.node("QuantizeLinear", [x, self.constant(np.float32(scale)), self.constant(dtype(zero_point))]))

    def dequantize(self, q: str, scale: float, zero_point: int = 0, dtype: Any = np.uint8) -> str:
        operands = [q, self.constant(np.float32(scale)), self.constant(dtype(zero_point))]
        return str(self.node("DequantizeLinear", operands))

    def requantize(self, x: str, exponent: int, zero_point: int = 0) -> str:
        """Quantize and dequantize with the scale 2**exponent."""
        return self.dequantize(self.quantize(x, 2.0**exponent, zero_point), 2.0**exponent, zero_point)

    def quantized_input(self, x: str, scale: float, exponent: int, zero_point: int) -> str:
        """The input quantizer: a free scale in, a power of two out."""
        return self.dequantize(self.quantize(x, scale, zero_point), 2.0**exponent, zero_point)

    def weight(self, codes: NDArray[Any], exponents: Any, axis: int = 0) -> str:
        """int8 codes with a power-of-two scale per output channel."""
        return self._channels(np.asarray(codes, np.int8), exponents, axis)

    def bias(self, codes: NDArray[Any], exponents: Any) -> str:
        return self._channels(np.asarray(codes, np.int32), exponents, 0)

    def _channels(self, codes: NDArray[Any], exponents: Any, axis: int) -> str:
        channels = codes.shape[axis]
        scale = np.ldexp(np.float32(1), np.broadcast_to(exponents, channels)).astype(np.float32)
        zero = np.zeros(channels, codes.dtype)
        operands = [self.constant(codes), self.constant(scale), self.constant(zero)]
        return str(self.node("DequantizeLinear", operands, axis=axis))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model

    def program(self) -> Program:
        return Program.from_proto(self.model())
