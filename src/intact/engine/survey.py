"""Which engines this host has, and which of their variants compute integers as defined, without any model at hand."""

from __future__ import annotations

from intact.engine import canary, trial
from intact.engine.backend import Backend, EngineError, Options
from intact.engine.backends import find
from intact.engine.choose import CONFORMS, Tried, name_of
from intact.engine.conformance import make_vectors
from intact.errors import CheckFailed


def survey() -> tuple[Tried, ...]:
    """Try the canary on every variant of every engine, the fragile ones in child processes."""
    found: list[Tried] = []
    for backend in find().values():
        reason = backend.why_unavailable()
        if reason:
            found.append(Tried(name=backend.name, outcome=reason))
            continue
        found += [Tried(name=name_of(backend, v), outcome=_outcome(backend, v)) for v in backend.variants]
    return tuple(found)


def _outcome(backend: Backend, variant: str) -> str:
    try:
        if backend.fragile:
            program = canary.canary()
            trial.survive(backend, variant, program, make_vectors(program, "exact"), Options(threads=1))
        else:
            canary.check(backend, variant)
    except (CheckFailed, EngineError) as failure:
        return failure.message
    return CONFORMS
