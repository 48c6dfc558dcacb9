"""Equalization across layers: every channel is divided by a factor that its readers' weights take in.

In the exact profile scales are powers of two. A factor for each tensor makes its best scale one; a factor for each
channel moreover gives channels of different ranges codes of their own fineness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.choose import Search, groups
from intact.compress.equalize.cost import GRID, TINY, Codes, Weights, some_rows, tabulate
from intact.compress.equalize.fold import columns, fold
from intact.compress.equalize.measure import Seen, measure
from intact.compress.equalize.probe import Place, probe
from intact.compress.equalize.rules import trace
from intact.compress.equalize.sensitivity import gain, sensitivity
from intact.compress.equalize.trace import Trace
from intact.compress.methods import method
from intact.compress.operators import operators
from intact.compress.plan import Plan
from intact.graph.view import Graph

Array = NDArray[Any]
SWEEPS = 2
"""Times every group is looked at: the factors of one bear on what is best for its neighbours."""
LEFT = 0.3
"""About what methods that look at a layer's inputs leave of the noise of rounding to nearest."""
MOST_CHANNELS = 256
"""Channels that are tried one by one."""
TRUST = 0.8
"""How much of what was found for a channel is believed, the rest being what was expected."""
Granularity = Literal["tensor", "channel"]

__all__ = ["Equalized", "Granularity", "equalize", "fold", "trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalized:
    """A graph with the same function whose tensors are easier to code.

    Args:
        graph: Its nodes and names are those of the graph before; its constants differ.
        factors: What every tensor is divided by, one number or one for each channel; those of one are left out.
    """

    graph: Graph
    factors: Mapping[str, Array]


def equalize(plan: Plan, pieces: Sequence[Mapping[str, Array]], granularity: Granularity = "channel") -> Equalized:
    """Scale the tensors between the layers of `plan.graph`, and the layers' weights against it.

    Graph inputs and outputs, and all that operators read which do not carry a factor through, stay as they are. In the
    layout "islands" everything does.

    Args:
        plan: Of the normalised graph; its recipe says how many codes tensors and weights have.
        pieces: Checked calibration data; without them everything stays as it is.
        granularity: "tensor" gives every tensor one factor, "channel" one to every channel.

    Raises:
        DataError: A value inside the graph became NaN or infinite.

    Source:
        Nagel et al. 2019, arXiv:1906.04721, section 4.1; Meller et al. 2019, arXiv:1902.01917. The factors are chosen
        by noise over signal in what the readers of a tensor make of it.
    """
    unchanged = Equalized(graph=plan.graph, factors={})
    if plan.layout != "codes" or not pieces:
        return unchanged
    traced = trace(plan.graph)
    labels = traced.labels(whole=granularity == "tensor")
    if not any((labels[name] > 0).any() for name in plan.coded if name in labels):
        return unchanged
    seen = measure(plan.graph, pieces, traced.layouts)
    codes, weights = _measured(plan, pieces, traced, seen, places(plan, traced, seen))
    search = Search(
        labels=labels,
        tables={(each.tensor, each.levels): tabulate(seen[each.tensor], each.levels) for each in codes},
        power_of_two=plan.power_of_two,
        channels=granularity == "channel",
    )
    count = 1 + max(int(each.max()) for each in labels.values())
    wholes = np.zeros(count, np.int64)
    for group in groups(labels, codes, weights) * SWEEPS:
        wholes = search.better(group, wholes)
    factors = {name: np.exp2(wholes[each] / GRID) for name, each in labels.items()}
    kept = {name: value for name, value in factors.items() if (value != 1.0).any()}
    return Equalized(graph=fold(traced, factors) if kept else plan.graph, factors=kept)


def places(plan: Plan, traced: Trace, seen: Mapping[str, Seen]) -> tuple[list[Codes], list[Weights]]:
    """Where the plan rounds tensors, and which products' weights."""
    worth = sensitivity(traced, seen)
    codes = [Codes(tensor=name, levels=256, worth=worth[name], clipped=worth[name]) for name in _rounded(plan, traced)]
    weights: list[Weights] = []
    for step in plan.layers:
        assert step.recipe is not None  # layers have settings
        node, name = step.nodes[0], step.nodes[0].inputs[0]
        if name not in worth or traced.folds.get(node.output) is not node:
            continue
        if step.recipe.activation_bits < 8 and step.recipe.activations == "static":
            own = gain(traced, node, worth[node.output])
            codes.append(Codes(tensor=name, levels=2**step.recipe.activation_bits, worth=own, clipped=own, reader=node))
        rows, kept = some_rows(traced.graph.constants[node.inputs[1]], node)
        weights.append(
            Weights(
                tensor=name,
                output=node.output,
                node=node,
                weight=rows,
                bits=int(step.recipe.weights),
                worth=worth[node.output][kept],
                power=seen[name].power,
                kept=kept,
            )
        )
    return codes, weights


def _rounded(plan: Plan, traced: Trace) -> list[str]:
    """The tensors that are rounded to 8-bit codes where they are made: those that are moved only are not."""
    known = operators()
    made = [port.name for port in plan.graph.inputs]
    made += [
        name
        for step in plan.steps
        if step.operator not in known or not known[step.operator].moves
        for name in step.outputs
    ]
    return [name for name in made if name in plan.coded and name in traced.layouts]


def _measured(
    plan: Plan,
    pieces: Sequence[Mapping[str, Array]],
    traced: Trace,
    seen: Mapping[str, Seen],
    places: tuple[list[Codes], list[Weights]],
) -> tuple[list[Codes], list[Weights]]:
    """The same with what noise is worth as it was found by trying each place, channels in the proportions given.

    In the tensors that matter most channels are tried one by one.
    """
    codes, weights = places
    steps = [_step(seen[each.tensor]) for each in codes]
    grids = [_weight_steps(plan, each) for each in weights]
    tried = [Place(value=c.tensor, reader=c.reader, step=np.asarray(s)) for c, s in zip(codes, steps, strict=True)]
    whole = tried + [Place(value=w.node.inputs[1], reader=None, step=g) for w, g in zip(weights, grids, strict=True)]
    found = probe(plan.graph, whole, pieces)
    chosen = _apart(traced, codes, found)
    apart = [replace(tried[number], apart=switch) for number, switch in chosen.items()]
    found_apart = dict(zip(chosen, probe(plan.graph, apart, pieces) if apart else [], strict=True))
    measured_codes = [
        replace(each, worth=_scaled(each.worth, _plain(seen[each.tensor], step), one, found_apart.get(n)))
        for n, (each, step, one) in enumerate(zip(codes, steps, found, strict=False))
    ]
    measured_weights = [
        replace(w, worth=w.worth * float(one[0]) / max(_plain_weights(plan, w, g), TINY) * _left(plan, w))
        for w, g, one in zip(weights, grids, found[len(codes) :], strict=True)
    ]
    return measured_codes, measured_weights


def _scaled(worth: Array, noise: Array, whole: Array, apart: Array | None) -> Array:
    """`worth` such that the noise gives what was found: in all, and nearly so for each channel that was tried."""
    scaled = worth * (float(whole[0]) / max(float((worth * noise).sum()), TINY))
    if apart is None or not apart.any():
        return np.asarray(scaled)
    level = float(whole[0]) / float(apart.sum())
    single = np.where(noise > 0, level * apart / np.maximum(noise, TINY), scaled)
    return np.asarray(TRUST * single + (1.0 - TRUST) * scaled)


def _apart(traced: Trace, codes: Sequence[Codes], found: Sequence[Array]) -> dict[int, tuple[int, ...]]:
    """The switches of the places whose channels are tried apart: where most was found, as long as there are few."""
    left, chosen = MOST_CHANNELS, {}
    for number in sorted(range(len(codes)), key=lambda number: -float(found[number][0])):
        layout, rank = traced.layouts[codes[number].tensor], traced.ranks.get(codes[number].tensor)
        if layout.axis is not None and rank is not None and layout.size <= left:
            left -= layout.size
            chosen[number] = (layout.size, *[1] * (rank - layout.axis - 1))
    return chosen


def _step(seen: Seen) -> float:
    """A step that clips nothing in 255 of them."""
    return max(float(seen.high.max()) - float(seen.low.min()), float(np.abs(seen.high).max()), 1e-20) / 255


def _plain(seen: Seen, step: float) -> Array:
    """Mean squared error of rounding each channel to multiples of `step`."""
    scaled = seen.sample / np.float32(step)
    return np.asarray(np.square(np.rint(scaled) - scaled).mean(axis=1, dtype=np.float64) * step**2)


def _weight_steps(plan: Plan, product: Weights) -> Array:
    """A step for each row of a weight that clips nothing, shaped to divide it."""
    weight = plan.graph.constants[product.node.inputs[1]]
    over = (0,) if product.node.op == "MatMul" else tuple(range(1, weight.ndim))
    limit = 2 ** (product.bits - 1) - 1
    return np.asarray(np.maximum(np.abs(weight).max(axis=over, keepdims=True), 1e-20) / limit)


def _plain_weights(plan: Plan, product: Weights, steps: Array) -> float:
    """What rounding a weight is worth, by the proportions of `product`, of the rows that it has."""
    weight, node = plan.graph.constants[product.node.inputs[1]].astype(np.float64), product.node
    errors = np.square(np.rint(weight / steps) * steps - weight) * columns(weight, node, product.power)
    over = (0,) if node.op == "MatMul" else tuple(range(1, weight.ndim))
    return float((errors.sum(axis=over)[product.kept] * product.worth).sum())


def _left(plan: Plan, product: Weights) -> float:
    """What the layer's method leaves of the noise of rounding to nearest."""
    (recipe,) = (step.recipe for step in plan.layers if step.nodes[0] is product.node)
    return 1.0 if recipe is None or not method(recipe.method).needs_inputs else LEFT
