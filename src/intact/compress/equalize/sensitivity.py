"""How much noise in a channel moves the outputs of a graph, from weights and a few moments alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.measure import Seen
from intact.compress.equalize.trace import Link, Trace
from intact.graph.view import Node

Array = NDArray[Any]

TINY = 1e-30


def sensitivity(trace: Trace, seen: Mapping[str, Seen]) -> dict[str, Array]:
    """For each channel of each tensor, the noise over signal in the outputs for noise of mean square one in it.

    Noise is taken as white and independent: a product adds up its squares weighted by the squared weights, a Relu lets
    through the share of values that it does, a mean over n values divides it by n, and an operator that is not looked
    into keeps the ratio of noise to signal.

    Args:
        trace: Of the graph.
        seen: What was seen of every tensor of the trace.

    Returns:
        float64, one value for each channel of every tensor in `seen`.
    """
    found = {name: np.zeros(len(each.power)) for name, each in seen.items()}
    for name in trace.graph.output_names & set(found):
        found[name] += 1.0 / max(float(seen[name].power.sum()), TINY)
    links: dict[int, list[Link]] = {}
    for link in trace.links:
        if link.source != link.target:
            links.setdefault(id(link.node), []).append(link)
    for node in reversed(trace.graph.nodes):
        if id(node) in links:
            for link in links[id(node)]:
                np.add.at(found[link.source], link.ours, _through(link, found[link.target], seen))
        elif trace.folds.get(node.output) is node:
            found[node.inputs[0]] += _into_product(trace, node, found, seen)
        else:
            _keep_ratio(node, found, seen)
    return found


def gain(trace: Trace, node: Node, made: Array) -> Array:
    """What noise in each channel of a product's input is worth, where in those of its output it is worth `made`."""
    weight = np.square(trace.graph.constants[node.inputs[1]].astype(np.float64))
    if node.op == "MatMul":
        found = weight @ made
    else:
        group = int(node.attributes.get("group", 1))
        taps = weight.reshape(group, len(weight) // group, weight.shape[1], -1).sum(axis=3)
        found = np.einsum("grc,gr->gc", taps, made.reshape(group, -1)).reshape(-1)
    size = trace.layouts[node.inputs[0]].size
    return found if size == len(found) else np.asarray([found.sum()])


def _into_product(trace: Trace, node: Node, found: Mapping[str, Array], seen: Mapping[str, Seen]) -> Array:
    made, source = found[node.output], node.inputs[0]
    own = gain(trace, node, made)
    ratio = float((made * seen[node.output].power).sum()) / max(float((own * seen[source].power).sum()), TINY)
    return own * ratio


def _through(link: Link, made: Array, seen: Mapping[str, Seen]) -> Array:
    """What the channels of a link's source get of those of its target."""
    node, source, target = link.node, seen[link.source], seen[link.target]
    share: Array | float = 1.0
    if node.op not in ("Add", "Sub", "Sum", "Concat"):
        share = np.minimum((target.power[link.theirs] + TINY) / (source.power[link.ours] + TINY), 1.0)
    if len(target.power) < len(source.power):
        share = share * len(target.power) / len(source.power)
    return np.asarray(made[link.theirs] * share)


def _keep_ratio(node: Node, found: dict[str, Array], seen: Mapping[str, Seen]) -> None:
    """The ratio of noise to signal of the inputs is that of the outputs."""
    worth = sum(float((found[name] * seen[name].power).sum()) for name in node.outputs if name in found)
    for name in node.present():
        if name in found:
            found[name] += worth / max(float(seen[name].power.sum()), TINY)
