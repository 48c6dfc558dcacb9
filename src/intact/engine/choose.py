"""Find the fastest engine that conforms on this host, and remember it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from numpy.typing import NDArray

from intact.engine import canary, memory, trial
from intact.engine.backend import DEFAULT, Backend, EngineError, Options, Session
from intact.engine.backends import find, get
from intact.engine.conformance import check_covered, inputs_of, self_test
from intact.engine.host import describe, fingerprint
from intact.engine.spec import graph_of, specs_of
from intact.engine.taps import load_session
from intact.engine.vectors import Vectors
from intact.errors import CheckFailed, UsageError
from intact.graph.program import Program

WARM_UPS: Final = 3
BURST: Final = 5
"""Timed calls in a row."""
ROUNDS: Final = 12
SETTLE_S: Final = 0.05
"""Wait before a burst, so that no other engine's workers are still spinning."""
PATIENCE_S: Final = 1.0
"""Timing stops after this many seconds, or `ROUNDS` rounds over the candidates, whichever comes first."""

CONFORMS: Final = "conforms"
COPIES: Final = "keeps copies of the weights, which no check of memory sees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one engine.

    Args:
        name: Engine and variant.
        outcome: "conforms", or why it is not used.
        ms: Median time of one run, where it was timed.
    """

    name: str
    outcome: str
    ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A session that passed the self-test.

    Args:
        session: Ready to run.
        tried: Everything that was looked at, in order.
        remembered: Whether an earlier choice was taken over, without timing.
    """

    session: Session
    tried: tuple[Tried, ...]
    remembered: bool = False

    @property
    def engine(self) -> str:
        """Name of the chosen engine and variant."""
        return self.session.name


def load(
    program: Program,
    vectors: Vectors,
    *,
    engines: Sequence[str | Backend] | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    sizes: Mapping[str, int] | None = None,
    cache_path: Path | None = None,
) -> Loaded:
    """Load a program on the fastest engine that passes its self-test.

    1. An engine remembered for this host, model and question is loaded and tested; if it passes, it is taken.
    2. Else every engine is loaded and tested, each in its first variant that passes.
    3. If several pass, they are timed and the fastest is taken and remembered.

    Args:
        program: The model.
        vectors: Its conformance vectors.
        engines: What to choose from, by name or as backends; by default every installed one but the reference.
        options: How sessions run.
        sizes: Named dimensions to time at; by default those of the vectors.
        cache_path: Where choices are remembered; None to remember nothing.

    Returns:
        The session, and what became of every candidate.

    Raises:
        CheckFailed: No engine conforms; says why for each.
        UsageError: An engine's name is unknown.
        ModelError: The program is broken, or holds what no engine may be handed.
        IntegrityError: The vectors do not name every output.
    """
    backends = _candidates(engines)
    check_covered(tuple(spec.name for spec in specs_of(graph_of(program).graph)[1]), vectors)
    question = _Question(program=program, vectors=vectors, options=options)
    key = _key(question, [backend.name for backend in backends], sizes)
    recalled = memory.Memory(choices={}) if cache_path is None else memory.recall(cache_path)
    tried = [Tried(name="remembered choices", outcome=recalled.trouble)] if recalled.trouble else []
    session = _remembered(question, backends, recalled.choices.get(key), tried)
    if session is not None:
        return Loaded(session=session, tried=tuple(tried), remembered=True)
    sessions = list(_conforming(question, backends, tried))
    if not sessions:
        raise _none_conforms(tried)
    chosen = sessions[0] if len(sessions) == 1 else _fastest(sessions, vectors, sizes, tried)
    worth = len(tried) > 1  # a first and only candidate needs no memory
    trouble = memory.remember(cache_path, key, chosen.name) if cache_path is not None and worth else ""
    if trouble:
        tried.append(Tried(name="remembered choices", outcome=trouble))
    return Loaded(session=chosen, tried=tuple(tried))


def reload(program: Program, session: Session, options: Options) -> Session:
    """Load a program once more, on the engine and in the variant of `session`, and with its taps.

    Raises:
        EngineError: The engine cannot.
    """
    return load_session(get(session.engine), program, replace(options, taps=session.taps), session.variant)


def _candidates(engines: Sequence[str | Backend] | None) -> list[Backend]:
    if engines is None:
        return [backend for backend in find().values() if backend.automatic]
    if not engines:
        raise UsageError("no engine is named", hint=f"choose from {', '.join(find())}")
    return [engine if isinstance(engine, Backend) else get(engine) for engine in engines]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    program: Program
    vectors: Vectors
    options: Options


def _key(question: _Question, names: Sequence[str], sizes: Mapping[str, int] | None) -> str:
    """Digest what the choice depends on. Vectors stand for the weights: they hold digests of the model's outputs."""
    record = {
        "host": fingerprint(describe()),
        "engines": sorted(names),
        "threads": question.options.threads,
        "in_place": question.options.in_place,
        "sizes": dict(sizes or {}),
        "taps": [str(tap) for tap in question.options.taps],
        "graph": hashlib.sha256(question.program.model).hexdigest(),
        "vectors": question.vectors.to_json(),
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _remembered(
    question: _Question, backends: Sequence[Backend], choice: str | None, tried: list[Tried]
) -> Session | None:
    names = {name_of(b, variant): (b, variant) for b in backends for variant in b.variants}
    if choice is None or choice not in names:
        return None
    backend, variant = names[choice]
    return None if backend.why_unavailable() else _attempt(question, backend, variant, tried, known=True)


def _conforming(question: _Question, backends: Sequence[Backend], tried: list[Tried]) -> Iterator[Session]:
    """Yield a session for every engine that has a conforming variant."""
    for backend in backends:
        reason = backend.why_unavailable()
        if reason:
            tried.append(Tried(name=backend.name, outcome=reason))
            continue
        for variant in backend.variants if question.options.in_place else backend.ranked(question.program):
            session = _attempt(question, backend, variant, tried, known=False)
            if session is not None:
                yield session
                break


def _attempt(question: _Question, backend: Backend, variant: str, tried: list[Tried], *, known: bool) -> Session | None:
    """Load and test one variant, and write down what came of it."""
    program, vectors, options = question.program, question.vectors, question.options
    if options.in_place and backend.copies:
        tried.append(Tried(name=backend.name, outcome=COPIES))
        return None
    try:
        if backend.fragile and not known:
            trial.survive(backend, variant, program, vectors, options)
        canary.check(backend, variant)
        session = load_session(backend, program, options, variant)
        self_test(session, vectors)
    except (EngineError, CheckFailed) as failure:
        tried.append(Tried(name=name_of(backend, variant), outcome=failure.message))
        return None
    tried.append(Tried(name=session.name, outcome=CONFORMS))
    return session


def name_of(backend: Backend, variant: str) -> str:
    """Return the name a session of this variant has."""
    return backend.name if variant == DEFAULT else f"{backend.name}/{variant}"


def _fastest(
    sessions: Sequence[Session], vectors: Vectors, sizes: Mapping[str, int] | None, tried: list[Tried]
) -> Session:
    """Time the sessions in turns, note the medians, and return the fastest."""
    inputs = inputs_of(sessions[0], vectors, sizes)
    times = _timed([_runner(session, inputs) for session in sessions])
    middle = {session.name: 1e3 * median(samples) for session, samples in zip(sessions, times, strict=True)}
    tried[:] = [replace(t, ms=middle[t.name]) if t.outcome == CONFORMS and t.name in middle else t for t in tried]
    return min(sessions, key=lambda session: middle[session.name])


def _runner(session: Session, inputs: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
    return lambda: session.run(inputs)


def _timed(runs: Sequence[Callable[[], object]]) -> list[list[float]]:
    """Time the candidates in turns, a burst each: the workers of one may spin on a while after its last call."""
    times: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + PATIENCE_S
    for round_ in range(ROUNDS):
        if round_ and time.perf_counter() > end:
            break
        for run, samples in zip(runs, times, strict=True):
            time.sleep(SETTLE_S)
            for _ in range(WARM_UPS):
                run()
            for _ in range(BURST):
                start = time.perf_counter()
                run()
                samples.append(time.perf_counter() - start)
    return times


def _none_conforms(tried: Sequence[Tried]) -> CheckFailed:
    found = "; ".join(f"{t.name}: {t.outcome}" for t in tried) or "no engine is installed"
    return CheckFailed(
        f"no engine on this host computes what the model defines: {found}",
        hint="install another engine (such as the openvino extra), or name engines=['reference'], which is slow",
    )
