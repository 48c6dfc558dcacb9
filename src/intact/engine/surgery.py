"""Rewrites that give an engine the same integers in another spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from intact.engine.exact.codes import power_of_two, quantize_float
from intact.graph.program import Program

ELEMENTWISE: Final = frozenset({"Add", "Sub", "Mul", "Relu", "Clip", "Max", "Min"})
"""Operators that an engine may chain behind a rounding inside one kernel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputQuantizer:
    """A QuantizeLinear taken off a graph's input.

    Args:
        codes: Name of the graph's new input, which takes its codes.
        scale: float32, 0-d.
        zero_point: Integer, 0-d.
    """

    codes: str
    scale: NDArray[Any]
    zero_point: NDArray[Any]

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of x, as docs/spec/integer-graph.md defines them."""
        return quantize_float(x, self.scale, self.zero_point.astype(np.int64), self.zero_point.dtype)


def peel_inputs(model: onnx.ModelProto) -> dict[str, InputQuantizer]:
    """Take QuantizeLinear off every float input that goes nowhere else, and let the graph take codes there.

    Args:
        model: Changed in place.

    Returns:
        What was taken off, by the input's name.
    """
    graph = model.graph
    constants = _constants(graph)
    peeled = {}
    for value in graph.input:
        readers = [node for node in graph.node if value.name in node.input]
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or _read_elsewhere(graph, value.name):
            continue
        quantizer = _input_quantizer(readers[0], constants)
        if quantizer is not None:
            graph.node.remove(readers[0])
            peeled[value.name] = quantizer
            value.name = quantizer.codes
            value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(quantizer.zero_point.dtype)
    return peeled


def _input_quantizer(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> InputQuantizer | None:
    if len(node.input) != 3 or not all(name in constants for name in node.input[1:]):
        return None
    scale, zero_point = (constants[name] for name in node.input[1:])
    if scale.size != 1 or scale.dtype != np.float32 or zero_point.dtype not in (np.uint8, np.int8):
        return None
    return InputQuantizer(codes=node.output[0], scale=scale.reshape(()), zero_point=zero_point.reshape(()))


def spell_out_rounding(model: onnx.ModelProto) -> int:
    """Write QuantizeLinear and DequantizeLinear as Mul, Round, Clip, Mul wherever only elementwise operators follow.

    Args:
        model: Changed in place. Only pairs with one power-of-two scale are touched, for which the two spellings give
            the same float32 values.

    Returns:
        How many pairs were rewritten.
    """
    graph = model.graph
    constants = _constants(graph)
    rewritten = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and not _read_elsewhere(graph, node.output[0]):
            following = _only_reader(graph, node.output[0])
            if following is not None and _replaceable(graph, node, following, constants):
                rewritten[node.output[0]] = (following, _spelled(graph, node, following, constants))
    _replace(graph, rewritten)
    return len(rewritten)


def _replaceable(
    graph: onnx.GraphProto,
    quantize: onnx.NodeProto,
    dequantize: onnx.NodeProto,
    constants: Mapping[str, NDArray[Any]],
) -> bool:
    if dequantize.op_type != "DequantizeLinear" or list(dequantize.input[1:]) != list(quantize.input[1:]):
        same = dequantize.op_type == "DequantizeLinear" and _same_constants(quantize, dequantize, constants)
        if not same:
            return False
    if len(quantize.input) != 3 or not all(name in constants for name in quantize.input[1:]):
        return False
    scale = constants[quantize.input[1]]
    readers = [node.op_type for node in graph.node if dequantize.output[0] in node.input]
    return scale.size == 1 and power_of_two(scale) is not None and bool(readers) and ELEMENTWISE.issuperset(readers)


def _same_constants(a: onnx.NodeProto, b: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    if len(a.input) != 3 or len(b.input) != 3:
        return False
    pairs = list(zip(a.input[1:], b.input[1:], strict=True))
    return all(x in constants and y in constants and np.array_equal(constants[x], constants[y]) for x, y in pairs)


def _spelled(
    graph: onnx.GraphProto,
    quantize: onnx.NodeProto,
    dequantize: onnx.NodeProto,
    constants: Mapping[str, NDArray[Any]],
) -> list[onnx.NodeProto]:
    scale, zero = constants[quantize.input[1]].reshape(()), constants[quantize.input[2]]
    info, stem = np.iinfo(zero.dtype), f"{quantize.output[0]}/spelled"
    values = {
        "inverse": np.float32(1) / scale,
        "scale": scale,
        "low": np.float32(info.min - int(zero.reshape(()))),
        "high": np.float32(info.max - int(zero.reshape(()))),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), f"{stem}/{k}") for k, v in values.items())
    return [
        helper.make_node("Mul", [quantize.input[0], f"{stem}/inverse"], [f"{stem}/steps"]),
        helper.make_node("Round", [f"{stem}/steps"], [f"{stem}/rounded"]),
        helper.make_node("Clip", [f"{stem}/rounded", f"{stem}/low", f"{stem}/high"], [f"{stem}/code"]),
        helper.make_node("Mul", [f"{stem}/code", f"{stem}/scale"], [dequantize.output[0]]),
    ]


def _replace(graph: onnx.GraphProto, rewritten: Mapping[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]]) -> None:
    gone = {following.output[0] for following, _ in rewritten.values()}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in rewritten:
            nodes.extend(rewritten[node.output[0]][1])
        elif node.output[0] not in gone:
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Return the small initializers, which is what scales and zero points of activations are."""
    return {
        initializer.name: numpy_helper.to_array(initializer)
        for initializer in graph.initializer
        if initializer.data_location != onnx.TensorProto.EXTERNAL and int(np.prod(initializer.dims)) == 1
    }


def _only_reader(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 else None


def _read_elsewhere(graph: onnx.GraphProto, name: str) -> bool:
    return any(output.name == name for output in graph.output)


def own_zero_points(program: Program) -> Program:
    """Give every int8 weight codes and a zero point of its own, for engines that shift them to uint8 one by one.

    Returns:
        The same program with one initializer for each reader of int8 codes, and with the zero points written out that
        the standard lets a model leave out. Tensors beside the graph are still shared.
    """
    proto = onnx.load_from_string(program.model)
    graph, tensors = proto.graph, dict(program.tensors)
    held = {i.name: i for i in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 2 and _is_int8(held.get(node.input[0])):
            zeros = np.zeros(tuple(held[node.input[1]].dims) if node.input[1] in held else (), np.int8)
            node.input.append(f"{node.output[0]}/zero_point")
            graph.initializer.append(numpy_helper.from_array(zeros, node.input[2]))
        for index, name in enumerate(node.input):
            if name in seen and _is_int8(held.get(name)):
                node.input[index] = f"{name}/{node.output[0]}/{index}"
                _copy(graph, held[name], node.input[index], tensors)
            seen.add(name)
    return Program(model=proto.SerializeToString(), tensors=tensors)


def _is_int8(initializer: onnx.TensorProto | None) -> bool:
    return initializer is not None and initializer.data_type == onnx.TensorProto.INT8


def _copy(graph: onnx.GraphProto, initializer: onnx.TensorProto, name: str, tensors: dict[str, NDArray[Any]]) -> None:
    copy = graph.initializer.add()
    copy.CopyFrom(initializer)
    copy.name = name
    if initializer.name in tensors:
        tensors[name] = tensors[initializer.name]
        copy.external_data[0].value = name
