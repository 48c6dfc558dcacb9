"""Trials: what is asked of the workers, and how it is answered. A trial holds no code, so it may run anywhere."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from intact import seal
from intact.compress.calibrate import row_count
from intact.compress.recipe import Recipe
from intact.compress.weights import stored
from intact.graph.program import Program
from intact.graph.run import Runner
from intact.graph.view import Graph
from intact.numbers import dequantize
from intact.pipeline.drafting import Draft, draft
from intact.pipeline.options import silent
from intact.tuning.distance import Distance, distance
from intact.tuning.material import Material, Piece

Array = NDArray[Any]

SENSITIVITY_ROWS = 256
"""Calibration rows on which errors are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Ask what each layer does to the output when it alone is compressed by `recipe` and the rest is float."""

    kind: ClassVar[str] = "probe"
    recipe: Recipe

    def run(self, material: Material) -> Answer:
        """Compress everything once, then put the rounded weights into the float model one layer at a time."""
        made = draft(material.spec, self.recipe, silent)
        meter = _Meter(made)
        changed = rounded(made)
        return Answer(facts={"layers": {name: meter.error({key: value}) for name, (key, value) in changed.items()}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refine:
    """Ask how the error changes when one layer after the other moves from `recipe` to `moved`, the rest at `recipe`."""

    kind: ClassVar[str] = "refine"
    recipe: Recipe
    moved: Recipe

    def run(self, material: Material) -> Answer:
        """Compress by both recipes, and exchange the rounded weights one layer at a time."""
        here, there = (draft(material.spec, recipe, silent) for recipe in (self.recipe, self.moved))
        meter = _Meter(here)
        base, other = dict(rounded(here).values()), rounded(there)
        return Answer(
            facts={
                "base": meter.error(base),
                "layers": {name: meter.error({**base, key: value}) for name, (key, value) in other.items()},
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compress:
    """Ask for the integer program of `recipe`, what it weighs in an artifact, and its error on calibration rows."""

    kind: ClassVar[str] = "compress"
    recipe: Recipe

    def run(self, material: Material) -> Answer:
        """Compress, run both models on the calibration rows, and write the artifact's weights to measure them."""
        made = draft(material.spec, self.recipe, silent)
        return Answer(facts=facts_of(made), program=made.program)


Trial = Probe | Refine | Compress


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a trial: facts as JSON values, and the program where one was asked for."""

    facts: Mapping[str, Any]
    program: Program | None = None


def key_of(trial: Trial, *more: str) -> str:
    """Digest of all that a trial depends on beside what its journal is about."""
    recipes = [trial.recipe.to_json(), *([trial.moved.to_json()] if isinstance(trial, Refine) else [])]
    text = json.dumps([trial.kind, recipes, SENSITIVITY_ROWS, *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Meter:
    """Measures how far models are from the float one, on the same rows."""

    def __init__(self, made: Draft) -> None:
        self._graph = made.plan.graph
        self._pieces = some_pieces(made.data, SENSITIVITY_ROWS)
        self._wanted = self._run(Runner(made.plan.graph))

    def _run(self, runner: Runner) -> list[dict[str, Array]]:
        return [runner(piece) for piece in self._pieces]

    def compare(self, runner: Runner) -> Distance:
        """Distance of any model with the same inputs and outputs."""
        return distance(self._wanted, self._run(runner))

    def error(self, constants: Mapping[str, Array]) -> float:
        """Error of the float model with other constants."""
        graph: Graph = replace(self._graph, constants={**self._graph.constants, **constants})
        return self.compare(Runner(graph)).error


def facts_of(made: Draft) -> dict[str, Any]:
    """The error of an integer program on calibration rows, and what it weighs."""
    found = _Meter(made).compare(Runner(made.emission.graph))
    return {"error": found.error, "same": found.same, "bytes": stored_bytes(made.program)}


def some_pieces(pieces: Sequence[Piece], rows: int) -> list[Piece]:
    """The first pieces, up to `rows` rows in all; at least one row."""
    found: list[Piece] = []
    left = rows
    for piece in pieces:
        found.append({name: value[:left] for name, value in piece.items()} if row_count(piece) > left else piece)
        left -= row_count(piece)
        if left <= 0:
            break
    return found


def rounded(made: Draft) -> dict[str, tuple[str, Array]]:
    """For each layer the name of its weights in the float graph, and their rounded values in the same layout."""
    found = {}
    for step in made.plan.layers:
        node = step.nodes[0]
        name = node.inputs[1]
        rows: Array = dequantize(made.emission.solutions[step.layer].codes)
        source = made.encodings.get(node.inputs[0])
        if source is not None and step.recipe is not None and step.recipe.activations == "static":
            rows = rows / source.factor
        shape = made.plan.graph.constants[name].shape
        found[step.layer] = (name, stored(rows.astype("float32"), node, shape))
    return found


def stored_bytes(program: Program) -> int:
    """Bytes of the program's tensors and graph as an artifact holds them."""
    with tempfile.TemporaryDirectory(prefix="intact-") as folder:
        target = Path(folder) / "weighed.intact"
        seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), target)
        return sum(seal.inspect(target).sizes.values())
