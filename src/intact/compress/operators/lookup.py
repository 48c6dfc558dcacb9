"""Functions of one value, however they are spelled: a table of 256 codes, the same on every host.

A chain such as x * sigmoid(x) is one function of x, and becomes one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.operators import Claim, Context, Operator
from intact.graph.run import Runner
from intact.graph.view import Graph, Node, Port

if TYPE_CHECKING:
    from intact.compress.emit import Emitter
    from intact.compress.plan import Step

ELEMENTWISE = frozenset(
    [
        "Abs",
        "Add",
        "Celu",
        "Clip",
        "Cos",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mish",
        "Mul",
        "Neg",
        "Pow",
        "Reciprocal",
        "Relu",
        "Selu",
        "Sigmoid",
        "Sin",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Tanh",
        "ThresholdedRelu",
    ]
)
MAX_CHAIN = 32


def claim(context: Context, node: Node) -> Claim | None:
    """Take the longest chain from `node` on that is a function of one tensor and has one result."""
    if not _is_unary(context.graph, node, {root} if (root := _root(context.graph, node)) else set()):
        return None
    chain = _longest(context.graph, root, node)
    return Claim(nodes=chain, layer=chain[-1].name or chain[-1].output) if chain else None


def _root(graph: Graph, node: Node) -> str:
    """The one computed input of `node`, or nothing."""
    computed = {name for name in node.present() if graph.constant(name) is None}
    return computed.pop() if len(computed) == 1 and node.op in ELEMENTWISE else ""


def _is_unary(graph: Graph, node: Node, known: set[str]) -> bool:
    """Whether `node` is elementwise over `known` values and constants of one element."""
    if node.op not in ELEMENTWISE or len(node.outputs) != 1 or not known:
        return False
    return all(name in known or _is_scalar(graph, name) for name in node.present())


def _is_scalar(graph: Graph, name: str) -> bool:
    value = graph.constant(name)
    return value is not None and value.size == 1 and value.ndim <= 1


def _longest(graph: Graph, root: str, first: Node) -> tuple[Node, ...]:
    start = next(index for index, node in enumerate(graph.nodes) if node is first)
    known: set[str] = {root}
    members: list[Node] = []
    for node in graph.nodes[start:]:
        if len(members) < MAX_CHAIN and _is_unary(graph, node, known):
            members.append(node)
            known.add(node.output)
    for last in reversed(members):
        chain = _ancestors(members, last)
        if first in chain and _has_one_result(graph, chain):
            return chain
    return ()


def _ancestors(members: list[Node], last: Node) -> tuple[Node, ...]:
    needed: set[str] = {last.output}
    chain: list[Node] = []
    for node in reversed(members):
        if node.output in needed:
            chain.append(node)
            needed.update(node.present())
    return tuple(reversed(chain))


def _has_one_result(graph: Graph, chain: tuple[Node, ...]) -> bool:
    inside = {id(node) for node in chain}
    return all(
        node.output not in graph.output_names
        and all(id(consumer) in inside for consumer in graph.consumers.get(node.output, ()))
        for node in chain[:-1]
    )


def emit(emitter: Emitter, step: Step) -> None:
    """Write Gather from the table, the codes as indices."""
    root = _root(emitter.graph, step.nodes[0])
    output = step.outputs[0]
    table = emitter.constant(f"{output}_table", _table(emitter, step.nodes, root, output))
    indices = emitter.node("Cast", (emitter.codes(root),), f"{output}_i", to=6)  # 6 is INT32
    emitter.put_codes(output, emitter.node("Gather", (table, indices), f"{output}_q", axis=0))


def _table(emitter: Emitter, chain: tuple[Node, ...], root: str, output: str) -> NDArray[np.uint8]:
    """The code of f(x) for each of the 256 codes of x."""
    source, target = emitter.encodings[root], emitter.encodings[output]
    values = ((np.arange(256) - source.zero_point) * source.scale).astype(np.float32)
    ports = [Port(name=name, dtype=np.dtype(np.float32), shape=(256,)) for name in (root, output)]
    graph = Graph(nodes=chain, constants=emitter.graph.constants, inputs=(ports[0],), outputs=(ports[1],))
    result: NDArray[Any] = Runner(graph.with_nodes(chain), threads=1)({root: values})[output]
    codes = np.rint(np.nan_to_num(result.astype(np.float64)) / target.scale) + target.zero_point
    return np.asarray(np.clip(codes, 0, 255).astype(np.uint8))


OPERATOR = Operator(name="lookup", claim=claim, reads=lambda graph, step: (_root(graph, step.nodes[0]),), emit=emit)
