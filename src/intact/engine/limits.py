"""What a graph may not hold: anything that makes an engine read other files, or work without a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from intact.errors import ModelError

DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Operator sets of the ONNX standard; operators of any other come from code that the artifact does not hold."""

ELEMENT_LIMIT: Final = 1 << 28
"""A constant shape may ask for this many elements: 1 GiB of float32."""

RANDOM: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)

Constants = Mapping[str, NDArray[Any]]


def check_graph(proto: onnx.ModelProto, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Refuse what no engine may be handed.

    Args:
        proto: The model, without its large tensors.
        tensors: Those, by name.

    Raises:
        ModelError: It holds a graph within a node, a function, a training part, an operator outside the standard or
            a random one, data in another file, a sparse initializer, or a constant shape of too many elements.
    """
    if proto.functions or proto.training_info:
        raise ModelError("the model holds local functions or a training part, which no engine is given")
    if proto.graph.sparse_initializer:
        raise ModelError("the model holds sparse initializers, which no engine is given")
    for initializer in proto.graph.initializer:
        _check_location(initializer)
    for node in proto.graph.node:
        _check_node(node)
    constants = {**_constants(proto.graph), **tensors}
    for node in proto.graph.node:
        _check_size(node, constants)


def _check_location(initializer: onnx.TensorProto) -> None:
    """Only the tensor of the same name beside the graph may hold an initializer's data."""
    found = [(entry.key, entry.value) for entry in initializer.external_data]
    external = initializer.data_location == onnx.TensorProto.EXTERNAL
    if found != ([("location", initializer.name)] if external else []):
        raise ModelError(f"initializer '{initializer.name}' refers to data outside the artifact: {found}")


def _check_node(node: onnx.NodeProto) -> None:
    if node.domain not in DOMAINS:
        raise ModelError(f"operator '{node.op_type}' comes from the domain '{node.domain}', wanted standard operators")
    if node.op_type in RANDOM:
        raise ModelError(f"operator '{node.op_type}' gives random values, which no self-test can check")
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs or attribute.ref_attr_name:
            raise ModelError(
                f"operator '{node.op_type}' holds a graph of its own ('{attribute.name}'), which may read files or "
                "run without end",
                hint="export the model without If, Loop and Scan: fix the branch or unroll the loop",
            )
        for tensor in _held(attribute):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise ModelError(f"attribute '{attribute.name}' of operator '{node.op_type}' refers to another file")


def _held(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    yield from (attribute.t, *attribute.tensors)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Return what the graph itself writes down: inline initializers and constant nodes."""
    inline = [i for i in graph.initializer if i.data_location != onnx.TensorProto.EXTERNAL]
    found = {i.name: _array(i, i.name) for i in inline}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = _array(attribute.t, node.output[0])
                elif attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
                    found[node.output[0]] = np.asarray(onnx.helper.get_attribute_value(attribute))
    return found


def _array(tensor: onnx.TensorProto, name: str) -> NDArray[Any]:
    if math.prod(tensor.dims) > ELEMENT_LIMIT or any(size < 0 for size in tensor.dims):
        raise ModelError(f"constant '{name}' has shape {list(tensor.dims)}, more than {ELEMENT_LIMIT} elements")
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"constant '{name}' cannot be read: its data do not fit its type and shape") from error


def _check_size(node: onnx.NodeProto, constants: Constants) -> None:
    """Refuse a node whose constant operands alone make its output too large."""
    operands = [constants.get(name) for name in node.input]
    attributes = [list(a.ints) for a in node.attribute if a.name in ("shape", "output_shape")]
    rule = SIZES.get(node.op_type)
    asked = [0.0 if rule is None else rule(operands), *(_product(np.asarray(shape)) for shape in attributes)]
    if not max(asked) <= ELEMENT_LIMIT:
        raise ModelError(
            f"operator '{node.op_type}' ({node.name or ', '.join(node.output)}) asks for {max(asked):.3g} elements, "
            f"more than {ELEMENT_LIMIT}"
        )


def _product(sizes: NDArray[Any] | None) -> float:
    """Return the product of the sizes above one, so that an axis of size 0, -1 or unknown hides nothing."""
    if sizes is None or sizes.dtype.kind not in "iuf":
        return 0.0
    with np.errstate(over="ignore"):
        return float(np.prod(np.maximum(sizes.astype(np.float64), 1.0)))


def _range(operands: list[NDArray[Any] | None]) -> float:
    if len(operands) != 3 or any(value is None or value.size != 1 for value in operands):
        return 0.0
    start, limit, delta = (float(value.reshape(())) for value in operands if value is not None)
    return math.inf if delta == 0 or not math.isfinite(delta) else max(0.0, (limit - start) / delta)


def _added(operands: list[NDArray[Any] | None]) -> float:
    pads = operands[1] if len(operands) > 1 else None
    if pads is None or pads.dtype.kind != "i":
        return 0.0
    both = np.maximum(pads.astype(np.float64), 0.0).reshape(-1)
    return _product(both[: both.size // 2] + both[both.size // 2 :]) if both.size % 2 == 0 else 0.0


def _at(index: int) -> Callable[[list[NDArray[Any] | None]], float]:
    return lambda operands: _product(operands[index]) if index < len(operands) else 0.0


def _resized(operands: list[NDArray[Any] | None]) -> float:
    return max(_at(2)(operands), _at(3)(operands))


SIZES: Final[Mapping[str, Callable[[list[NDArray[Any] | None]], float]]] = {
    "CenterCropPad": _at(1),
    "ConstantOfShape": _at(0),
    "Expand": _at(1),
    "MaxUnpool": _at(2),
    "OneHot": _at(1),
    "Pad": _added,
    "Range": _range,
    "Reshape": _at(1),
    "Resize": _resized,
    "Tile": _at(1),
    "Upsample": _at(1),
}
"""A lower bound on the elements of an output, from the operands that are constants, by operator."""
