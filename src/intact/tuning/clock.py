"""How much slower one call is with a choice than without: measured, and only where the graph differs at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from intact import engine
from intact.compress.recipe import Recipe
from intact.graph.program import Program
from intact.pipeline.building import Built
from intact.pipeline.timing import interleaved
from intact.tuning.choices import Choice, apply
from intact.tuning.objective import Layer

ROWS = 32
SECONDS = 0.6
"""Time spent on one pair of programs."""


def structure(program: Program) -> str:
    """Digest of what an engine's time depends on: operators, attributes, types and shapes, but no values."""
    hasher = hashlib.sha256()
    graph = onnx.load_from_string(program.model).graph
    numbers: dict[str, int] = {"": 0}  # names may tell values
    constants = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for node in graph.node:
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        ends = [(numbers.setdefault(name, len(numbers)), constants.get(name)) for name in (*node.input, *node.output)]
        hasher.update(repr((node.op_type, ends, attributes)).encode())
    return hasher.hexdigest()


def extra_ns(
    base: Built,
    recipe: Recipe,
    layers: Sequence[Layer],
    choices: Sequence[Choice],
    build: Callable[[Recipe], Built],
    progress: Callable[[int, int], None],
) -> dict[tuple[str, Choice], int]:
    """Return how many nanoseconds longer a call of `ROWS` rows takes than the base build's, by layer and choice.

    All layers are given a choice at once. Where the graph is then the base's but for numbers, nothing is timed: it
    takes the same time. Else the difference is shared out by the layers' weights.

    Args:
        base: A build by `recipe`.
        recipe: What is not tuned.
        layers: What is.
        choices: To be timed.
        build: Builds by a recipe.
        progress: Called with (choices done, choices in all).
    """
    same = structure(base.program)
    found: dict[tuple[str, Choice], int] = {}
    for number, choice in enumerate(choices):
        progress(number, len(choices))
        taking = [layer for layer in layers if layer.admits(choice)]
        built = build(apply(recipe, {layer.name: choice for layer in taking}))
        if structure(built.program) == same:
            continue
        longer = max(0.0, _difference_s(base, built)) * 1e9
        whole = sum(layer.weights for layer in taking)
        found |= {(layer.name, choice): round(longer * layer.weights / whole) for layer in taking}
    progress(len(choices), len(choices))
    return found


def _difference_s(base: Built, other: Built) -> float:
    sessions = {"base": base.session, "other": other.session}
    sizes = {port.shape[0]: ROWS for port in base.inputs if port.shape and isinstance(port.shape[0], str)}
    inputs = engine.inputs_of(base.session, base.vectors, sizes)
    times = interleaved({name: _call(session, inputs) for name, session in sessions.items()}, seconds=SECONDS)
    return float(np.median(times["other"]) - np.median(times["base"]))


def _call(session: engine.Session, inputs: Mapping[str, Any]) -> Callable[[], object]:
    return lambda: session.run(inputs)
