"""The stages of a build one after the other, and what comes out on each engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import engine
from intact.compress.calibrate import calibrate, check_data
from intact.compress.emit import Emission, emit
from intact.compress.encodings import Encoding, choose_encodings
from intact.compress.plan import Plan, observed, plan
from intact.compress.recipe import Recipe
from intact.compress.sequence import solve_layers
from intact.graph.load import load
from intact.graph.normalise import normalise
from intact.graph.program import Program
from intact.graph.run import Runner
from intact.graph.view import Graph, read

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A float graph, as it came and normalised, and the program made of it."""

    source: Graph
    graph: Graph
    plan: Plan
    encodings: Mapping[str, Encoding]
    emission: Emission
    program: Program
    vectors: engine.Vectors

    def float_run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the float model as it came."""
        return Runner(self.source)(feeds)

    def run(
        self, name: str, feeds: Mapping[str, Array], variant: str = "default", threads: int = 1
    ) -> dict[str, Array]:
        """Run the program on one engine."""
        options = engine.Options(threads=threads)
        return engine.find()[name].load(self.program, options, variant).run(feeds)


def compress(model: bytes, feeds: Mapping[str, Array], recipe: Recipe | None = None) -> Compressed:
    """Load, normalise, plan, calibrate on `feeds`, solve, emit, and make the self-test."""
    proto = load(model)
    graph = normalise(proto)
    made = plan(graph, recipe or Recipe())
    checked = check_data(graph.inputs, feeds)
    statistics = calibrate(graph, [checked], observed(made)) if made.coded else {}
    encodings = choose_encodings(made, statistics)
    emission = emit(made, encodings, solve_layers(made, encodings, [checked] if made.coded else []))
    program = Program.from_proto(emission.graph.to_proto())
    vectors = engine.make_vectors(program, "exact" if made.exact else "tolerant", made.recipe.seed)
    return Compressed(
        source=read(proto),
        graph=graph,
        plan=made,
        encodings=encodings,
        emission=emission,
        program=program,
        vectors=vectors,
    )


def sqnr_db(signal: Array, other: Array) -> float:
    """Signal power over the power of the difference, in decibels."""
    power = float(np.mean(np.square(signal, dtype=np.float64)))
    noise = float(np.mean(np.square(signal.astype(np.float64) - other)))
    return 10.0 * float(np.log10(max(power, 1e-30) / max(noise, 1e-30)))


def cosine(first: Array, second: Array) -> float:
    """Least cosine between the rows of two outputs."""
    a, b = (value.reshape(len(value), -1).astype(np.float64) for value in (first, second))
    return float(((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())
