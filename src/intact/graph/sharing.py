"""Weights that several operators share: each reader gets a name of its own, for each is a layer of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from intact.graph.view import Graph, Node

ENDINGS = (".weight", ".bias")


def unshare(graph: Graph) -> Graph:
    """Return `graph` with no float constant of more than one value read by two nodes.

    The second reader of `a.weight` reads `a~2.weight`, and so on; the values themselves are not copied.
    """
    seen: Counter[str] = Counter()
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        names = {name: _own_name(graph, name, seen) for name in dict.fromkeys(node.present())}
        constants.update({own: constants[name] for name, own in names.items() if own != name})
        nodes.append(replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)))
    return graph.with_nodes(nodes, constants)


def _own_name(graph: Graph, name: str, seen: Counter[str]) -> str:
    value = graph.constant(name)
    if value is None or value.size < 2 or value.dtype.kind != "f":
        return name
    seen[name] += 1
    if seen[name] == 1:
        return name
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    return f"{name.removesuffix(ending)}~{seen[name]}{ending}"
