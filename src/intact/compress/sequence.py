"""Solve the layers one after the other, each on what it really gets from the layers before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.emit import Growing, open_at
from intact.compress.encodings import Encoding, narrow
from intact.compress.methods import method
from intact.compress.moments import Gathering, Geometry, Moments
from intact.compress.plan import Plan, Step
from intact.compress.solve import Layer, Solution, solve
from intact.compress.trail import Trail
from intact.compress.weights import bias_of, rows_of
from intact.graph.run import batches, is_batched

Array = NDArray[Any]
Feeds = Mapping[str, Array]

MOST_ROWS = 1 << 15
"""Rows of a layer's inputs that are looked at, spread evenly over the calibration data."""
MOST_EXAMPLES = 1024
"""Examples of the calibration data that are run."""
BATCH = 32
LEAST_HELD_BYTES = 16 << 20
HELD_SHARE = 0.75
"""Most that is held of either graph's values from layer to layer, as a share of the weights, but at least the above."""


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
    watch = _Watch(plan, encodings, solutions, pieces)
    for number, step in enumerate(plan.layers):
        progress(number, len(plan.layers))
        if step.layer in solutions:
            continue
        assert step.recipe is not None  # layers have settings
        layer = layer_of(plan, encodings, step)
        if pieces and _looks(step):
            layer = replace(layer, moments=watch.moments(step))
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

    def __init__(
        self,
        plan: Plan,
        encodings: Mapping[str, Encoding],
        solutions: Mapping[str, Solution],
        pieces: Sequence[Feeds],
    ) -> None:
        self._plan, self._encodings = plan, encodings
        are_batched = is_batched(plan.graph.inputs)
        parts = [part for piece in pieces for part in batches(piece, BATCH if are_batched else _rows(piece))]
        every = max(1, -(-sum(_rows(part) for part in parts) // MOST_EXAMPLES))
        self._parts = parts[::every]
        self._growing = Growing(plan, encodings, solutions)
        weights = sum(value.nbytes for value in plan.graph.constants.values())
        most = max(LEAST_HELD_BYTES, int(HELD_SHARE * weights))
        self._float, self._integer = Trail(self._parts, most), Trail(self._parts, most)
        self._last: tuple[object, Moments | None] = (None, None)

    def moments(self, step: Step) -> Moments | None:
        """The moments of the input of `step`; None for a convolution of no known geometry."""
        assert step.recipe is not None
        node = step.nodes[0]
        geometry = Geometry.of(node, self._plan.graph.constants[node.inputs[1]].shape)
        if geometry is None:
            return None
        source = source_of(self._encodings, step)
        key = (node.inputs[0], step.recipe.activation_bits, source is None, geometry)
        if self._last[0] != key:
            self._last = (None, None)  # a second set of moments need not lie beside the first
            self._last = (key, self._gather(step, geometry, source))
        return self._last[1]

    def _gather(self, step: Step, geometry: Geometry, source: Encoding | None) -> Moments:
        before = self._growing.until(step)
        gathering = Gathering(geometry)
        most = -(-MOST_ROWS // len(self._parts))
        references = self._float.run(self._plan.graph, step.nodes[0].inputs[0], open_at(self._plan, step))
        values = self._integer.run(before.graph, before.source, before.open)
        for wanted, value in zip(references, values, strict=True):
            gathering.see(value, wanted if source is None else wanted / source.factor, most)
        return gathering.finish()


def _rows(part: Feeds) -> int:
    return len(next(iter(part.values())))
