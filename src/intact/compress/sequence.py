"""Solve the layers one after the other, each on what it really gets from the layers before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.emit import emit_until
from intact.compress.encodings import Encoding, narrow
from intact.compress.methods import method
from intact.compress.moments import Gathering, Geometry, Moments
from intact.compress.plan import Plan, Step
from intact.compress.solve import Layer, Solution, solve
from intact.compress.weights import bias_of, rows_of
from intact.graph.cut import upto
from intact.graph.run import Runner, batches
from intact.graph.view import Graph

Array = NDArray[Any]
Feeds = Mapping[str, Array]

MOST_ROWS = 1 << 15
"""Rows of a layer's inputs that are looked at, spread evenly over the calibration data."""
MOST_EXAMPLES = 1024
"""Examples of the calibration data that are run."""
BATCH = 32


def solve_layers(
    plan: Plan,
    encodings: Mapping[str, Encoding],
    pieces: Sequence[Feeds],
    *,
    known: Mapping[str, Solution] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Solution]:
    """Return the integers of every layer of `plan`.

    Args:
        plan: What becomes of every node.
        encodings: Code of every coded tensor.
        pieces: Calibration data; without them the inputs of layers are not looked at.
        known: Solutions that are there already; these layers are not solved again.
        progress: Called with (layers done, layers in all).
    """
    solutions = dict(known or {})
    generator = np.random.default_rng(plan.recipe.seed)
    watch = _Watch(plan, encodings, pieces)
    for number, step in enumerate(plan.layers):
        progress(number, len(plan.layers))
        if step.layer in solutions:
            continue
        assert step.recipe is not None  # layers have settings
        layer = layer_of(plan, encodings, step)
        if pieces and _looks(step):
            layer = replace(layer, moments=watch.moments(step, solutions))
        solutions[step.layer] = solve(layer, step.recipe, generator)
    progress(len(plan.layers), len(plan.layers))
    return solutions


def still_good(
    plan: Plan,
    before: Mapping[str, Encoding],
    now: Mapping[str, Encoding],
    solutions: Mapping[str, Solution],
) -> dict[str, Solution]:
    """The solutions found with the encodings `before` of those layers of `plan` whose encodings `now` are the same."""
    found = {}
    for step in plan.layers:
        output = step.outputs[0]
        same = _same(source_of(before, step), source_of(now, step)) and _same(before.get(output), now.get(output))
        if step.layer in solutions and same:
            found[step.layer] = solutions[step.layer]
    return found


def _same(first: Encoding | None, second: Encoding | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.affine == second.affine and np.array_equal(first.factor, second.factor)


def layer_of(plan: Plan, encodings: Mapping[str, Encoding], step: Step) -> Layer:
    """The rounding problem of a step, its inputs not looked at."""
    assert step.recipe is not None
    node, output = step.nodes[0], step.outputs[0]
    source = source_of(encodings, step)
    factor = np.ones((), np.float32) if source is None else source.factor
    return Layer(
        name=step.layer,
        weights=rows_of(plan.graph, node) * factor,
        bias=bias_of(plan.graph, step.nodes),
        source=source,
        target=encodings.get(output) if output in plan.coded else None,
        power_of_two=plan.power_of_two and source is not None,
        takes_bias=node.op != "MatMul" and source is not None,
        codes_bias=plan.power_of_two or node.op != "MatMul",
    )


def source_of(encodings: Mapping[str, Encoding], step: Step) -> Encoding | None:
    """The code that a layer reads its input in; None where it has no static one."""
    assert step.recipe is not None
    if step.recipe.activations != "static":
        return None
    return encodings[narrow(step.nodes[0].inputs[0], step.recipe.activation_bits)]


def _looks(step: Step) -> bool:
    """Whether the layer's inputs are worth a run."""
    recipe = step.recipe
    assert recipe is not None
    if recipe.bias_correction or method(recipe.method).needs_inputs:
        return True
    return bool(recipe.sparsity) and recipe.pruning != "magnitude"


class _Watch:
    """Runs the float graph and the integer one up to a layer, and adds up the moments of the layer's input."""

    def __init__(self, plan: Plan, encodings: Mapping[str, Encoding], pieces: Sequence[Feeds]) -> None:
        self._plan, self._encodings = plan, encodings
        self._pieces = [part for piece in pieces for part in batches(piece, BATCH)]
        every = max(1, -(-sum(_rows(part) for part in self._pieces) // MOST_EXAMPLES))
        self._pieces = self._pieces[::every]
        self._last: tuple[object, Moments | None] = (None, None)

    def moments(self, step: Step, solutions: Mapping[str, Solution]) -> Moments | None:
        """The moments of the input of `step`; None for a convolution of no known geometry."""
        assert step.recipe is not None
        node = step.nodes[0]
        geometry = Geometry.of(node, self._plan.graph.constants[node.inputs[1]].shape)
        if geometry is None:
            return None
        source = source_of(self._encodings, step)
        key = (node.inputs[0], step.recipe.activation_bits, source is None, geometry)
        if self._last[0] != key:
            self._last = (key, self._gather(step, geometry, source, solutions))
        return self._last[1]

    def _gather(
        self, step: Step, geometry: Geometry, source: Encoding | None, solutions: Mapping[str, Solution]
    ) -> Moments:
        name = step.nodes[0].inputs[0]
        before, inside = emit_until(self._plan, self._encodings, solutions, step)
        reference = _Values(self._plan.graph, name)
        found = _Values(before, inside)
        gathering = Gathering(geometry)
        most = -(-MOST_ROWS // len(self._pieces))
        for part in self._pieces:
            wanted = reference(part)
            if source is not None:
                wanted = wanted / source.factor
            gathering.see(found(part), wanted, most)
        return gathering.finish()


class _Values:
    """One value inside a graph, for any input."""

    def __init__(self, graph: Graph, name: str) -> None:
        self._name = name
        self._is_input = any(port.name == name for port in graph.inputs)
        self._runner = None if self._is_input else Runner(upto(graph, [name]), fetch=[name])

    def __call__(self, feeds: Feeds) -> Array:
        return feeds[self._name] if self._runner is None else self._runner(feeds)[self._name]


def _rows(part: Feeds) -> int:
    return len(next(iter(part.values())))
