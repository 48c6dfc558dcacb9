"""Where two integer programs differ, by layer, tensor and count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from intact.errors import IntegrityError
from intact.graph import Program

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One tensor, or one part of the graph, that is not the same.

    Args:
        layer: The layer it belongs to; "" where it belongs to none.
        name: The tensor's name, or the node's.
        what: In a word or two: "values", "type or shape", "missing", "unexpected", "node" or "graph".
        differing: How many values differ.
        total: Of how many.
        largest: Greatest difference of two values; None where they are no numbers of one kind.
    """

    layer: str
    name: str
    what: str
    differing: int = 0
    total: int = 0
    largest: float | None = None

    def line(self) -> str:
        """Say it in a line."""
        where = f"layer '{self.layer}', " if self.layer else ""
        if self.what != "values":
            told = {"node": "another node", "graph": "other bytes, though all of its parts are alike"}
            return f"{where}'{self.name}': {told.get(self.what, self.what)}"
        by = "" if self.largest is None else f", by {self.largest:g} at most"
        return f"{where}tensor '{self.name}': {self.differing:,} of {self.total:,} values differ{by}"


def differences(found: Program, wanted: Program, layers: Sequence[str]) -> list[Difference]:
    """Return where `found` is not `wanted`: nothing where every byte of graph and tensors is the same.

    Args:
        found: The program of an artifact.
        wanted: The program it should be.
        layers: Names of the layers in the order of the model; differences come in that order.

    Raises:
        IntegrityError: `found` has no graph that can be read.
    """
    one, other = _graph(found), _graph(wanted)
    results = [*_tensors(_values(one, found), _values(other, wanted)), *_nodes(one, other)]
    if not results and found.model != wanted.model:
        results = [Difference(layer="", name=other.name or "graph", what="graph")]
    place = {name: number for number, name in enumerate(layers)}
    named = [
        Difference(
            layer=_owner(each.name, layers),
            name=each.name,
            what=each.what,
            differing=each.differing,
            total=each.total,
            largest=each.largest,
        )
        for each in results
    ]
    return sorted(named, key=lambda each: (place.get(each.layer, len(place)), each.name))


def count(program: Program) -> tuple[int, int]:
    """Return how many tensors a program has, small ones in its graph included, and how many values."""
    values = _values(_graph(program), program)
    return len(values), sum(value.size for value in values.values())


def _graph(program: Program) -> onnx.GraphProto:
    try:
        return onnx.load_from_string(program.model).graph
    except (DecodeError, ValueError) as error:
        raise IntegrityError("the artifact holds no ONNX graph") from error


def _values(graph: onnx.GraphProto, program: Program) -> dict[str, Array]:
    """Every tensor of a program, those inside its graph included."""
    values = dict(program.tensors)
    try:
        for tensor in graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                values[tensor.name] = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError("the graph of the artifact holds a tensor that cannot be read") from error
    return values


def _tensors(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> Iterator[Difference]:
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted:
            yield Difference(layer="", name=name, what="missing" if name in wanted else "unexpected")
        elif found[name].dtype != wanted[name].dtype or found[name].shape != wanted[name].shape:
            yield Difference(layer="", name=name, what="type or shape")
        else:
            one, other = _items(found[name]), _items(wanted[name])
            differing = int(np.count_nonzero((one != other).any(axis=1)))
            if differing:
                largest = _largest(found[name], wanted[name])
                total = found[name].size
                yield Difference(layer="", name=name, what="values", differing=differing, total=total, largest=largest)


def _items(value: Array) -> NDArray[np.uint8]:
    """The bytes of each element: what is compared, so that a NaN equals itself and -0 is not 0."""
    flat = np.ascontiguousarray(value).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, -1) if flat.size else np.empty((0, 1), np.uint8)


def _largest(one: Array, other: Array) -> float | None:
    if one.dtype.kind not in "iufb":
        return None
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    return largest if math.isfinite(largest) else None


def _nodes(found: onnx.GraphProto, wanted: onnx.GraphProto) -> Iterator[Difference]:
    """The first node that is not the same; those after it follow from it too often to be of use."""
    for one, other in zip(found.node, wanted.node, strict=False):
        if one.SerializeToString(deterministic=True) != other.SerializeToString(deterministic=True):
            yield Difference(layer="", name=_called(other), what="node")
            return
    if len(found.node) != len(wanted.node):
        longer = max(found.node, wanted.node, key=len)
        name = _called(longer[min(len(found.node), len(wanted.node))])
        yield Difference(layer="", name=name, what="missing" if longer is wanted.node else "unexpected")


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} of {node.output[0] if node.output else '?'}"


def _owner(name: str, layers: Sequence[str]) -> str:
    """The layer that a tensor is named after; the longest such name, "" where there is none."""
    name = name.rpartition(" of ")[2]
    return max((layer for layer in layers if name == layer or name.startswith(f"{layer}.")), key=len, default="")
