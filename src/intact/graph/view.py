"""A frozen view of an ONNX graph: nodes, constants and typed ends, without protobuf's mutability."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from intact.errors import ModelError

OPSET = 21
IR_VERSION = 10

Array = NDArray[Any]
Dim = int | str
"""A known size, or the name of a size that may vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of a graph: its name, dtype and shape."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dim, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether an array of `shape` may enter here (named sizes take any size of at least one)."""
        return len(shape) == len(self.shape) and all(
            actual >= 1 if isinstance(wanted, str) else actual == wanted
            for actual, wanted in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator: what it is, what it reads and what it makes. An absent optional input is the empty string."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def present(self) -> Iterator[str]:
        """Yield the inputs that are there."""
        return (name for name in self.inputs if name)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX graph as a value: `nodes` in topological order, `constants` by name, and its ends."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int = OPSET
    domains: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each value, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.present()):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def output_names(self) -> frozenset[str]:
        """Names of the graph's outputs."""
        return frozenset(port.name for port in self.outputs)

    def constant(self, name: str) -> Array | None:
        """The constant called `name`, or None where the value is computed or absent."""
        return self.constants.get(name) if name else None

    def with_nodes(self, nodes: Iterable[Node], constants: Mapping[str, Array] | None = None) -> Graph:
        """Return the graph with other nodes, keeping only the constants they or the outputs still read."""
        kept = tuple(nodes)
        merged = {**self.constants, **(constants or {})}
        used = {name for node in kept for name in node.present()} | self.output_names
        return replace(self, nodes=kept, constants={name: value for name, value in merged.items() if name in used})

    def to_proto(self) -> onnx.ModelProto:
        """Write the graph as an ONNX model."""
        return write(self)


def read(proto: onnx.ModelProto) -> Graph:
    """View `proto`, lifting Constant nodes into constants.

    Raises:
        ModelError: The model has local functions, subgraphs, or an input of a type other than tensor.
    """
    if proto.functions:
        raise ModelError("the model has local functions, which must be inlined first")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    nodes = []
    for item in proto.graph.node:
        if item.op_type == "Constant" and not item.domain:
            constants[item.output[0]] = _constant_value(item)
        else:
            nodes.append(_read_node(item))
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    used = {node.domain for node in nodes if node.domain}
    return Graph(
        nodes=tuple(nodes),
        constants=constants,
        inputs=tuple(_read_port(item) for item in proto.graph.input if item.name not in constants),
        outputs=tuple(_read_port(item) for item in proto.graph.output),
        opset=opsets.get("", OPSET),
        domains={domain: version for domain, version in opsets.items() if domain in used},
    )


def write(graph: Graph, *, beside: Collection[str] = ()) -> onnx.ModelProto:
    """Write `graph` as an ONNX model with its constants inside, in a fixed order.

    Args:
        graph: What to write.
        beside: Constants whose values stay out of the model, which names them as lying in files of their names.
    """
    nodes = [
        onnx.helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain, **node.attributes)
        for node in graph.nodes
    ]
    body = onnx.helper.make_graph(
        nodes,
        "intact",
        [_write_port(port) for port in graph.inputs],
        [_write_port(port) for port in graph.outputs],
        [_write_constant(name, graph.constants[name], inside=name not in beside) for name in sorted(graph.constants)],
    )
    opsets = [onnx.helper.make_opsetid("", graph.opset)]
    opsets += [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(graph.domains.items())]
    return onnx.helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="intact")


def _read_node(item: onnx.NodeProto) -> Node:
    attributes = {}
    for attribute in item.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise ModelError(
                f"node '{item.name or item.output[0]}' ({item.op_type}) holds a subgraph, which is not supported",
                hint="export the model without data-dependent control flow",
            )
        value = onnx.helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return Node(
        op=item.op_type,
        inputs=tuple(item.input),
        outputs=tuple(item.output),
        attributes=attributes,
        name=item.name,
        domain="" if item.domain == "ai.onnx" else item.domain,
    )


def _constant_value(item: onnx.NodeProto) -> Array:
    attribute = item.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return onnx.numpy_helper.to_array(value)
    dtypes: dict[str, Any] = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if attribute.name not in dtypes:
        raise ModelError(f"constant '{item.output[0]}' is of kind '{attribute.name}', which is not supported")
    return np.asarray(value, dtype=dtypes[attribute.name])


def _read_port(item: onnx.ValueInfoProto) -> Port:
    kind = item.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(f"'{item.name}' is a {kind or 'value of no type'}, not a tensor")
    tensor = item.type.tensor_type
    shape: list[Dim] = []
    for axis, dim in enumerate(tensor.shape.dim):
        named = dim.dim_param or f"{item.name}_{axis}"
        shape.append(dim.dim_value if dim.HasField("dim_value") else named)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return Port(name=item.name, dtype=dtype, shape=tuple(shape))


def _write_constant(name: str, value: Array, *, inside: bool) -> onnx.TensorProto:
    if inside:
        return onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
    element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    tensor = onnx.TensorProto(name=name, dims=value.shape, data_type=element, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=name)
    return tensor


def _write_port(port: Port) -> onnx.ValueInfoProto:
    element = onnx.helper.np_dtype_to_tensor_dtype(port.dtype)
    return onnx.helper.make_tensor_value_info(port.name, element, list(port.shape))
