"""Find the channels of a graph that can go, and with which others."""

from __future__ import annotations

from intact.compress.channels.rules import RULES
from intact.compress.channels.wiring import Lane, Tracing, Wiring, grouped, products
from intact.graph.shapes import infer_shapes
from intact.graph.view import Graph


def trace(graph: Graph) -> Wiring:
    """Follow every channel of a normalised float graph from where it is made to where it is read.

    Inputs and outputs of the graph keep their channels, and so does all that meets an operator without a rule.
    Channels that nothing reads but outputs are not offered.
    """
    tracing = Tracing(graph, infer_shapes(graph))
    for node in graph.nodes:
        rule = None if node.domain else RULES.get(node.op)
        found = None if rule is None else rule(tracing, node)
        if found is None:
            tracing.pin(node.present())
            continue
        made = (found,) * len(node.outputs) if isinstance(found, Lane) else found
        tracing.lanes.update(zip(node.outputs, made, strict=True))
    tracing.pin(graph.output_names)
    lanes = tracing.settled()
    read = {node.inputs[0] for node in products(graph)}
    groups = tuple(group for group in grouped(lanes) if read & set(group.places))
    return Wiring(graph=graph, shapes=tracing.shapes, lanes=lanes, groups=groups)
