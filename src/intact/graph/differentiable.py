"""A float graph as a torch module: the same function, with gradients, and places to reach into it.

Importing this module imports torch; nothing else in the package imports it at its top except what needs torch anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.errors import ModelError, UsageError
from intact.graph.torch_operators import FUNCTIONS
from intact.graph.view import Graph, Node

Array = NDArray[Any]
Hook = Callable[[Tensor], Tensor]
Place = tuple[str, str]
"""A value as one node reads it: (first output of the node, name of the value)."""

WEIGHTED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "BatchNormalization": (1, 2),
    "PRelu": (1,),
    "Gather": (0,),
}
"""Where operators read constants that were trained."""


class Differentiable(nn.Module):  # type: ignore[misc]
    """A graph that torch computes, node by node.

    Args:
        graph: A float graph; `normalise` gives one that has few kinds of operators.
        trainable: Names of the constants that become parameters; those of `layer_constants(graph)` where it is None.
        fetch: Names of the values to return; the graph's outputs where it is None.

    Three mappings may be filled after construction, and are looked at in every call:

    - `on_value[name]` changes a value once it is made (a graph input too) for all who read it;
    - `on_read[node's first output, name]` changes a value, computed or constant, as that one node reads it;
    - `on_constant[name]` changes a constant for all who read it; it comes before `on_read`.

    `bypass` names the outputs of nodes that hand their first input on as it is.

    Raises:
        ModelError: An operator has no differentiable form here; the message names it.
        UsageError: A name to train or fetch is not in the graph.
    """

    def __init__(
        self, graph: Graph, *, trainable: Iterable[str] | None = None, fetch: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        refuse_unknown(graph)
        self.graph = graph
        self.fetch = tuple(port.name for port in graph.outputs) if fetch is None else tuple(fetch)
        self.on_value: dict[str, Hook] = {}
        self.on_read: dict[Place, Hook] = {}
        self.on_constant: dict[str, Hook] = {}
        self.bypass: set[str] = set()
        names = layer_constants(graph) if trainable is None else tuple(dict.fromkeys(trainable))
        _refuse_missing(graph, names, self.fetch)
        self._keys = _keep(self, graph, names)
        self._last = _last_readers(graph, self.fetch)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters by the names of their constants."""
        return {name: value for name in self._keys if isinstance(value := self.constant(name), nn.Parameter)}

    def constant(self, name: str) -> Tensor:
        """The constant called `name` as it is now, before any hook."""
        return getattr(self, self._keys[name])

    def forward(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the values to fetch from the graph's inputs, by name."""
        values = {port.name: self._made(port.name, feeds[port.name]) for port in self.graph.inputs}
        for node, over in zip(self.graph.nodes, self._last, strict=True):
            for name, value in zip(node.outputs, self._compute(node, values), strict=False):
                if name:
                    values[name] = self._made(name, value)
            for name in over:
                values.pop(name, None)
        return {name: values[name] if name in values else self._constant(name) for name in self.fetch}

    def to_graph(self) -> Graph:
        """Return the graph with the constants as they are now, in the dtype they came in."""
        now = {
            name: value.detach().cpu().numpy().astype(self.graph.constants[name].dtype).copy()
            for name, value in self.trained.items()
        }
        return replace(self.graph, constants={**self.graph.constants, **now})

    def _compute(self, node: Node, values: Mapping[str, Tensor]) -> Sequence[Tensor]:
        if node.output in self.bypass:
            return (self._read(node, node.inputs[0], values),)
        inputs = [self._read(node, name, values) if name else None for name in node.inputs]
        try:
            result = FUNCTIONS[node.op](node.attributes, *inputs)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            shapes = [tuple(each.shape) for each in inputs if each is not None]
            raise ModelError(f"'{node.output}' ({node.op}) does not compute on shapes {shapes}: {error}") from error
        return result if isinstance(result, tuple) else (result,)

    def _read(self, node: Node, name: str, values: Mapping[str, Tensor]) -> Tensor:
        value = values[name] if name in values else self._constant(name)
        hook = self.on_read.get((node.output, name))
        return value if hook is None else hook(value)

    def _made(self, name: str, value: Tensor) -> Tensor:
        hook = self.on_value.get(name)
        return value if hook is None else hook(value)

    def _constant(self, name: str) -> Tensor:
        hook = self.on_constant.get(name)
        return self.constant(name) if hook is None else hook(self.constant(name))


def layer_constants(graph: Graph) -> tuple[str, ...]:
    """The constants that training would change, in the order in which they are read.

    These are the float weights and biases of layers, tables of embeddings, and constants of one axis that are added or
    multiplied. Masks, scalars and sizes are not among them.
    """
    found = [name for node in graph.nodes for name in _weights_of(graph, node)]
    return tuple(dict.fromkeys(found))


def _weights_of(graph: Graph, node: Node) -> Iterable[str]:
    places = WEIGHTED.get(node.op, (0, 1) if node.op in ("Add", "Sub", "Mul", "Div") else ())
    for place in places:
        name = node.inputs[place] if place < len(node.inputs) else ""
        value = graph.constant(name)
        if value is None or value.dtype != np.float32:
            continue
        if node.op in WEIGHTED or (value.ndim == 1 and value.size > 1):
            yield name


def refuse_unknown(graph: Graph) -> None:
    """Raise ModelError for a node that torch has no form of here."""
    for node in graph.nodes:
        if node.domain or node.op not in FUNCTIONS:
            name = f"{node.domain}.{node.op}" if node.domain else node.op
            raise ModelError(
                f"operator '{name}' of '{node.output}' has no differentiable form here",
                hint="train in the framework the model came from",
            )
        if node.op != "Split" and any(node.outputs[1:]):
            raise ModelError(f"operator '{node.op}' of '{node.output}' has no differentiable form with several outputs")


def _refuse_missing(graph: Graph, trainable: Collection[str], fetch: Collection[str]) -> None:
    for name in trainable:
        value = graph.constant(name)
        if value is None or value.dtype.kind != "f":
            raise UsageError(f"'{name}' is to be trained and is no float constant of the graph")
    known = {*graph.producers, *graph.constants, *(port.name for port in graph.inputs)}
    for name in fetch:
        if name not in known:
            raise UsageError(f"'{name}' is to be fetched and is no value of the graph")


def _keep(module: nn.Module, graph: Graph, trainable: Collection[str]) -> dict[str, str]:
    """Register the constants; return the attribute of each."""
    keys: dict[str, str] = {}
    for name, value in graph.constants.items():
        key = re.sub(r"\W", "_", name)
        while hasattr(module, key):
            key += "_"
        keys[name] = key
        tensor = torch.from_numpy(np.array(value))
        if name in trainable:
            module.register_parameter(key, nn.Parameter(tensor))
        else:
            module.register_buffer(key, tensor, persistent=False)
    return keys


def _last_readers(graph: Graph, fetch: Collection[str]) -> list[list[str]]:
    """For each node, the values that nobody reads after it, so that they need not be kept."""
    over: list[list[str]] = []
    needed = set(fetch)
    for node in reversed(graph.nodes):
        names = [name for name in dict.fromkeys((*node.present(), *filter(None, node.outputs))) if name not in needed]
        over.append([name for name in names if graph.constant(name) is None])
        needed.update(node.present())
        needed.update(node.outputs)
    return over[::-1]
