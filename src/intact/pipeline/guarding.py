"""The guard's part in a build and at opening: which layer it looks at, what it learns, what the artifact says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact import engine, guard
from intact.graph.program import Program
from intact.graph.shapes import infer_shapes
from intact.graph.view import Graph, Port
from intact.pipeline.drafting import single_threaded

Array = NDArray[Any]

PRODUCTS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
PACKED_BYTES: Final = 2**25
"""A larger program is not packed for speed a second time: learning is a single pass, and memory is dear."""


def takes(ports: Sequence[Port]) -> tuple[guard.Takes, ...]:
    """Return the model's inputs as the guard knows them."""
    return tuple(guard.Takes(name=port.name, dtype=port.dtype.name, shape=port.shape) for port in ports)


def plain(ports: Sequence[Port]) -> guard.Contract:
    """Return the contract of a model that has none of its own: shapes and finite values only."""
    return guard.plain(takes(ports))


def one_row(ports: Sequence[Port]) -> bool:
    """Whether a call is always of one row."""
    return bool(ports) and all(port.shape and port.shape[0] == 1 for port in ports)


def last_codes(graph: Graph) -> guard.Tap | None:
    """Return the codes that the last product of an integer graph reads, where they are a row of features.

    They lie in memory anyway, so that giving them away changes nothing else: kernels end in codes.
    """
    products = (node for node in reversed(graph.nodes) if node.op in PRODUCTS)
    read = next((graph.producers.get(node.inputs[0]) for node in products), None)
    if read is None or read.op != "DequantizeLinear" or len(read.inputs) != 3:
        return None
    codes, zero = read.inputs[0], graph.constant(read.inputs[2])
    if zero is None or codes not in graph.producers or codes in graph.output_names:
        return None
    rank = len(infer_shapes(graph).get(codes, ()))
    better = any(len(port.shape) == 2 for port in graph.outputs)
    return None if rank < 2 or (rank > 2 and better) else _tap(codes, zero)


def _tap(codes: str, zero: Array) -> guard.Tap | None:
    return guard.Tap(tensor=codes, dtype=zero.dtype.name, zero=int(zero.item())) if zero.size == 1 else None


def spec(tap: guard.Tap | None) -> tuple[engine.TensorSpec, ...]:
    """Return what engines are asked to give beside the outputs."""
    return () if tap is None else (engine.TensorSpec(name=tap.tensor, dtype=tap.dtype, shape=None),)


def contract(header: Mapping[str, Any]) -> guard.Contract | None:
    """Return the contract in the header of an opened artifact; None where it was built without.

    Raises:
        IntegrityError: It is none that this version can read.
    """
    found = header.get(guard.FIELD)
    return None if found is None else guard.Contract.from_json(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a contract is learned with.

    Args:
        learner: Gathers what checks measure.
        observe: Runs the integer model, and gives the tapped layer too.
        tap: That layer; None where none is tapped.
    """

    learner: guard.Learner
    observe: Callable[[Mapping[str, Array]], engine.Observation]
    tap: guard.Tap | None

    def contract(self) -> guard.Contract:
        """Return what was learned; the same on any number of threads."""
        with single_threaded():
            return self.learner.learn()

    def add(self, feeds: Mapping[str, Array], reference: Mapping[str, Array]) -> dict[str, Array]:
        """Learn from one call, and return the integer model's outputs."""
        seen = self.observe(feeds)
        features = None if self.tap is None else seen.taps[self.tap.tensor]
        self.learner.add(feeds, seen.outputs, features, reference)
        return seen.outputs


def lesson(program: Program, graph: Graph, session: engine.Session, threads: int | None, sample: Any) -> Lesson:
    """Return what to learn a contract with: a session like `session`, which gives the last codes too where it can.

    Args:
        program: The integer program.
        graph: The same as a graph.
        session: The session that runs it.
        threads: Threads of the engine.
        sample: Inputs on which both sessions must give the same bits; the layer is not tapped where they do not.
    """
    tap = last_codes(graph)
    tapped = None if tap is None else _tapped(program, session, threads, tap)
    if tapped is not None and not _alike(tapped.run(sample), session.run(sample)):
        tapped = None
    used = tapped or session
    learner = guard.Learner(takes(graph.inputs), tap=tap if tapped else None, run=used.run)
    return Lesson(learner=learner, observe=used.observe, tap=tap if tapped else None)


def _tapped(program: Program, session: engine.Session, threads: int | None, tap: guard.Tap) -> engine.Session | None:
    backend = engine.find()[session.engine]
    in_place = program.size_bytes > PACKED_BYTES and not backend.copies
    options = engine.Options(threads=threads, in_place=in_place, taps=spec(tap))
    try:
        return engine.load_session(backend, program, options, session.variant)
    except engine.EngineError:
        return None


def _alike(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in second)
