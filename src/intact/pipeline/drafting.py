"""The stages from a float model to an integer program, each a value on the way: nothing is checked or run here yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from intact.compress.calibrate import Statistics, calibrate, row_count
from intact.compress.emit import Emission, emit
from intact.compress.encodings import Encoding, choose_encodings
from intact.compress.equalize import equalize
from intact.compress.plan import Plan, observed, plan
from intact.compress.recipe import Recipe
from intact.compress.sequence import solve_layers
from intact.errors import UsageError
from intact.graph.normalise import normalise
from intact.graph.program import Program
from intact.graph.run import is_batched
from intact.graph.view import Graph
from intact.pipeline import evidence, lineage
from intact.pipeline.options import Progress
from intact.pipeline.spec import Spec

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An integer program that nobody has run yet, and all that went into it.

    Args:
        source: The float model as it came.
        source_sha256: Its digest.
        float_bytes: Size of the float graph and its weights.
        plan: What became of every node.
        data: Calibration data in checked pieces; none where none were needed.
        statistics: What calibration saw.
        encodings: Code of every coded tensor.
        emission: The integer graph and the solved layers.
        program: The same, split for an engine.
    """

    source: Program
    source_sha256: str
    float_bytes: int
    plan: Plan
    data: Sequence[Mapping[str, Array]]
    statistics: Mapping[str, Statistics]
    encodings: Mapping[str, Encoding]
    emission: Emission
    program: Program

    @property
    def profile(self) -> Literal["exact", "tolerant"]:
        """What the plan promises."""
        return "exact" if self.plan.exact else "tolerant"

    def ranges(self) -> dict[str, tuple[float, float]]:
        """What the self-test's inputs may range over: what calibration saw of each input as a whole."""
        found = {}
        for port in self.plan.graph.inputs:
            lows = [float(piece[port.name].min()) for piece in self.data]
            highs = [float(piece[port.name].max()) for piece in self.data]
            if lows and min(lows) < max(highs):
                found[port.name] = (min(lows), max(highs))
        return found

    def some_rows(self, rows: int) -> dict[str, Array] | None:
        """Up to `rows` rows of the piece of data that has most, all of a fixed batch; None where there are no data."""
        if not self.data:
            return None
        largest = max(self.data, key=row_count)
        cuts = is_batched(self.plan.graph.inputs)
        return {name: value[:rows] for name, value in largest.items()} if cuts else dict(largest)


_ONE_AT_A_TIME = Lock()
"""The limit on threads is the whole process's: whoever lifted it first would lift it for all."""


@contextmanager
def single_threaded() -> Iterator[None]:
    """Do what follows on one thread: sums cut among threads round otherwise."""
    with _ONE_AT_A_TIME, threadpool_limits(limits=1, user_api="blas"):
        yield


def draft(spec: Spec, recipe: Recipe, progress: Progress) -> Draft:
    """Capture, normalise, plan, calibrate, solve and emit: the same integers on any number of threads.

    Raises:
        ModelError: The float model cannot be read or run.
        DataError: The data do not fit the model.
        UsageError: The recipe does not fit the model, or calibration data are missing.
    """
    progress("capture", 0, 1)
    source, digest = _source(spec)
    graph = normalise(source)
    progress("capture", 1, 1)
    made = plan(graph, recipe)
    data = _calibration(spec, graph, made)
    with single_threaded():
        if recipe.equalize:
            made = plan(equalize(made, data).graph, recipe)
        statistics = _observe(made, data, progress)
        encodings = choose_encodings(made, statistics)
        solutions = solve_layers(made, encodings, data, progress=lambda done, total: progress("solve", done, total))
        emission = emit(made, encodings, solutions)
    return Draft(
        source=source,
        source_sha256=digest,
        float_bytes=source.size_bytes,
        plan=made,
        data=data,
        statistics=statistics,
        encodings=encodings,
        emission=emission,
        program=Program.from_graph(emission.graph),
    )


def _source(spec: Spec) -> tuple[Program, str]:
    """The float model and its digest; the one copy of its weights is the program's."""
    program = Program.from_proto(spec.proto())
    return program, lineage.float_digest(program)


def _calibration(spec: Spec, graph: Graph, made: Plan) -> list[dict[str, Array]]:
    """The calibration data, checked; nothing where there are none and none are needed."""
    if spec.calibration is not None:
        return evidence.pieces_of(spec.calibration, graph.inputs)
    if made.coded:
        raise UsageError(
            "static activation ranges need calibration data, and none were given",
            hint="set Spec(calibration=...) or --calibrate data.npz; 100 to 1,000 typical inputs are enough",
        )
    return []


def _observe(made: Plan, data: Sequence[Mapping[str, Array]], progress: Progress) -> dict[str, Statistics]:
    if not data:
        return {}
    return calibrate(made.graph, data, observed(made), progress=lambda done, total: progress("calibrate", done, total))
