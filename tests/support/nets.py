"""Small float graphs, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


class Net:
    """Gathers nodes and constants; every method returns the name of a value.

    Args:
        seed: Of the random weights.
        inputs: Shape of each float32 input by name; a text is the name of a size that may vary.
    """

    def __init__(self, seed: int = 0, **inputs: Sequence[int | str]) -> None:
        self.rng = np.random.default_rng(seed)
        self._inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, list(s)) for n, s in inputs.items()]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, Array] = {}

    def constant(self, value: Any, name: str = "", dtype: Any = np.float32) -> str:
        """Keep a constant."""
        name = name or f"c{len(self._constants)}"
        self._constants[name] = np.asarray(value, dtype)
        return name

    def whole(self, *values: int) -> str:
        """Keep a vector of int64."""
        return self.constant(values, dtype=np.int64)

    def take_indices(self, name: str, *shape: int | str) -> None:
        """Declare an input of int64."""
        self._inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT64, list(shape)))

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Write a node; the names of its outputs, or the one name."""
        stem = f"{op.lower()}{len(self._nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        """Draw weights."""
        return (self.rng.normal(size=shape) * scale).astype(np.float32)

    def conv(self, x: str, weight: Array, bias: Array | None = None, name: str = "", **attributes: Any) -> str:
        """Write a convolution called `name`."""
        return str(self.op("Conv", x, *self._parameters(weight, bias, name), **attributes))

    def gemm(self, x: str, weight: Array, bias: Array | None = None, name: str = "") -> str:
        """Write a dense layer called `name`; weight is (outputs, inputs)."""
        return str(self.op("Gemm", x, *self._parameters(weight, bias, name), transB=1))

    def _parameters(self, weight: Array, bias: Array | None, name: str) -> tuple[str, ...]:
        name = name or f"layer{len(self._nodes)}"
        found = (self.constant(weight, f"{name}.weight"),)
        return found if bias is None else (*found, self.constant(bias, f"{name}.bias"))

    def proto(self, *outputs: str, opset: int = 21) -> onnx.ModelProto:
        """Return the model with these outputs."""
        ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        constants = [numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, "net", self._inputs, ports, constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        return onnx.shape_inference.infer_shapes(proto)

    def bytes(self, *outputs: str, opset: int = 21) -> bytes:
        """Return the model with these outputs as bytes."""
        return self.proto(*outputs, opset=opset).SerializeToString()


def mlp(seed: int = 0, inputs: int = 8, hidden: int = 16, outputs: int = 3) -> bytes:
    """Two dense layers with a Relu between them: x (n, inputs) to (n, outputs)."""
    net = Net(seed, x=["n", inputs])
    first = net.gemm("x", net.normal(hidden, inputs, scale=0.4), net.normal(hidden, scale=0.1), "first")
    last = net.gemm(net.op("Relu", first), net.normal(outputs, hidden, scale=0.4), net.normal(outputs), "last")
    return net.bytes(last)


def cnn(seed: int = 0) -> bytes:
    """Two convolutions with a residual addition, a pooling and a dense layer: x (n, 3, 8, 8) to (n, 5)."""
    net = Net(seed, x=["n", 3, 8, 8])
    stem = net.op("Relu", net.conv("x", net.normal(8, 3, 3, 3, scale=0.3), net.normal(8), "stem", pads=[1] * 4))
    body = net.conv(stem, net.normal(8, 8, 3, 3, scale=0.2), net.normal(8), "body", pads=[1] * 4)
    total = net.op("Relu", net.op("Add", stem, body))
    flat = net.op("Flatten", net.op("GlobalAveragePool", total))
    return net.bytes(net.gemm(flat, net.normal(5, 8, scale=0.5), net.normal(5), "head"))


def data(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Draw inputs."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)
