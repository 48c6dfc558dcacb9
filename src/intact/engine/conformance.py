"""Does an engine on this host compute what the definition says? Vectors are made once and run at every load."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.backend import Session, unsigned_zeros
from intact.engine.exact import execute, prepare
from intact.engine.noise import EXACT, Bounds, allowance, distance, noise
from intact.engine.probes import Span, make, resolve, spans_of
from intact.engine.spec import TensorSpec, graph_of, specs_of
from intact.engine.vectors import Case, Profile, Sample, Vectors, digest, sample
from intact.errors import CheckFailed, IntegrityError, ModelError, UsageError
from intact.graph.program import Program

PLAN: Final = (("uniform", 1), ("ties", 1), ("extremes", 2), ("steps", 16))
"""Kinds of input, and how many rows of each where the model lets the caller choose."""

OTHER_SIZE: Final = 12
"""Size of every other named dimension, such as a sequence length."""

INPUT_LIMIT: Final = 1 << 26
"""Elements of all inputs of one vector; each takes ten bytes while it is made."""


def make_vectors(
    program: Program,
    profile: Profile,
    seed: int = 0,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    sizes: Mapping[str, int] | None = None,
    bounds: Bounds | None = None,
) -> Vectors:
    """Run the definition on synthetic inputs and keep what it gives.

    Args:
        program: The model.
        profile: "exact" or "tolerant".
        seed: Inputs are made from it, and from nothing else: never from data.
        ranges: Smallest and largest value by input; by default the input quantizer's range, the rows of the table
            that an integer input indexes, else 0..1 for integers and -1..1 for floats.
        sizes: Sizes of named dimensions other than the rows.
        bounds: What a tolerant engine may differ; by default a few times what the definition itself differs by when
            its float32 operators round otherwise.

    Returns:
        Vectors of a few kilobytes.

    Raises:
        ModelError: The profile is exact and a node of the model is not, or may not be on every engine.
        UsageError: A range names no input, or is empty.
    """
    proto = graph_of(program)
    inputs, _ = specs_of(proto.graph)
    spans = _narrowed(spans_of(proto.graph, inputs), ranges or {})
    plan = prepare(program)
    cases: list[Case] = []
    noises: list[Bounds] = []
    for index, (kind, rows) in enumerate(PLAN):
        chosen = {**_sizes(inputs, rows), **(sizes or {})}
        made = _inputs(inputs, spans, kind, chosen, seed, index)
        trace = execute(plan, made)
        if profile == "exact":
            _check_exact((*trace.notes.departures, *trace.notes.breaches))
            outputs: Mapping[str, Any] = {name: digest(unsigned_zeros(value)) for name, value in trace.outputs.items()}
        else:
            outputs = {name: sample(_finite(name, value)) for name, value in trace.outputs.items()}
            noises += [] if bounds else [noise(plan, made, trace.outputs)]
        cases.append(Case(kind=kind, sizes=chosen, outputs=outputs))
    allowed = EXACT if profile == "exact" else bounds or allowance(noises)
    return Vectors(
        profile=profile,
        seed=seed,
        spans=spans,
        cases=tuple(cases),
        bound=allowed.euclidean,
        element_bound=allowed.element,
    )


def check_covered(outputs: tuple[str, ...], vectors: Vectors) -> None:
    """Check that every case says what every output must be, and of nothing else.

    Raises:
        IntegrityError: A case names other outputs.
    """
    for case in vectors.cases:
        if not outputs or set(case.outputs) != set(outputs):
            raise IntegrityError(
                f"the conformance vectors name outputs {sorted(case.outputs)}, the model gives {sorted(outputs)}"
            )


def self_test(session: Session, vectors: Vectors) -> None:
    """Run every vector on a session.

    Raises:
        CheckFailed: An output differs from the definition; names the engine and the output.
        IntegrityError: The vectors are of a model with other outputs.
        EngineError: The engine failed.
    """
    check_covered(tuple(spec.name for spec in session.outputs), vectors)
    for index, case in enumerate(vectors.cases):
        outputs = session.run(_inputs(session.inputs, vectors.spans, case.kind, case.sizes, vectors.seed, index))
        for name, expected in case.outputs.items():
            difference = _difference(outputs.get(name), expected, vectors)
            if difference:
                raise CheckFailed(
                    f"engine {session.name} does not conform: output '{name}' of vector {index} ({case.kind}) "
                    f"{difference}",
                    hint="use another engine; `intact doctor` shows which of them conform on this host",
                )


def digests(session: Session, vectors: Vectors) -> tuple[str, ...]:
    """Return a digest of every output of every vector on a session, bit for bit, whatever the profile allows.

    Raises:
        EngineError: The engine failed.
    """
    return tuple(
        found
        for index, case in enumerate(vectors.cases)
        for found in digest_run(
            session, _inputs(session.inputs, vectors.spans, case.kind, case.sizes, vectors.seed, index)
        )
    )


def digest_run(session: Session, inputs: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return a digest of every output of a session on `inputs`, by name.

    Raises:
        EngineError: The engine failed.
    """
    return tuple(digest(value) for _, value in sorted(session.run(inputs).items()))


def more_inputs(session: Session, vectors: Vectors, number: int) -> dict[str, NDArray[Any]]:
    """Return inputs like those of one of the vectors, the kinds in turn, and unlike them for every `number` from 0."""
    index = number % len(vectors.cases)
    case = vectors.cases[index]
    return _inputs(session.inputs, vectors.spans, case.kind, case.sizes, vectors.seed, len(vectors.cases) + number)


def inputs_of(session: Session, vectors: Vectors, sizes: Mapping[str, int] | None = None) -> dict[str, NDArray[Any]]:
    """Return the first vector's inputs, or the like in the given sizes."""
    case = vectors.cases[0]
    return _inputs(session.inputs, vectors.spans, case.kind, {**case.sizes, **(sizes or {})}, vectors.seed, 0)


def _inputs(
    specs: tuple[TensorSpec, ...], spans: Mapping[str, Span], kind: str, sizes: Mapping[str, int], seed: int, index: int
) -> dict[str, NDArray[Any]]:
    unknown = [spec.name for spec in specs if spec.name not in spans]
    if unknown:
        raise ModelError(f"the conformance vectors have no span for input '{unknown[0]}'")
    count = sum(math.prod(resolve(spec, sizes)) for spec in specs)
    if count > INPUT_LIMIT:
        raise ModelError(f"a conformance vector's inputs have {count} elements, more than {INPUT_LIMIT}")
    return {
        spec.name: make(kind, spans[spec.name], spec, sizes, f"intact/vectors/1/{seed}/{index}/{spec.name}")
        for spec in specs
    }


def _sizes(specs: tuple[TensorSpec, ...], rows: int) -> dict[str, int]:
    names = [size for spec in specs for size in spec.shape or () if isinstance(size, str)]
    leading = {spec.shape[0] for spec in specs if spec.shape}
    return {name: rows if name in leading else OTHER_SIZE for name in names}


def _narrowed(spans: Mapping[str, Span], ranges: Mapping[str, tuple[float, float]]) -> dict[str, Span]:
    unknown = sorted(set(ranges) - set(spans))
    if unknown:
        raise UsageError(f"a range is given for '{unknown[0]}', which is no input of the model")
    if any(not low < high for low, high in ranges.values()):
        raise UsageError(f"a range is empty: {dict(ranges)}", hint="give (smallest, largest)")
    given = {name: replace(spans[name], low=float(low), high=float(high)) for name, (low, high) in ranges.items()}
    return {**spans, **given}


def _check_exact(notes: tuple[str, ...]) -> None:
    if notes:
        more = f", and {len(notes) - 1} more" if len(notes) > 1 else ""
        raise ModelError(
            f"the model is not in the exact profile: {notes[0]}{more}",
            hint="build it in the tolerant profile, or keep this layer out of it",
        )


def _difference(found: NDArray[Any] | None, expected: str | Sample, vectors: Vectors) -> str:
    """Return how an output differs from what is expected, or ""."""
    if found is None:
        return "is missing"
    if isinstance(expected, str):
        return "" if digest(found) == expected else "differs from the definition"
    if found.shape != expected.shape:
        return f"has shape {list(found.shape)}, wanted {list(expected.shape)}"
    away = distance(found.reshape(-1)[:: expected.stride], expected.values)
    if not away.euclidean <= vectors.bound:
        return f"is {away.euclidean:.3g} away from the definition, the bound is {vectors.bound:.3g}"
    if not away.element <= vectors.element_bound:
        return f"has an element {away.element:.3g} away from the definition, the bound is {vectors.element_bound:.3g}"
    return ""


def _finite(name: str, value: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(value).all():
        raise ModelError(f"output '{name}' is not finite on synthetic inputs", hint="give narrower ranges")
    return value
