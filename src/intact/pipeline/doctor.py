"""What this host is, and which engines compute on it what a model defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intact import engine
from intact.errors import CheckFailed
from intact.pipeline import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One engine on this host.

    Args:
        name: The engine.
        version: Its version; empty where it is part of this package or not installed.
        conforms: Whether it gives the integers of the definition.
        outcome: Why not, or "conforms".
    """

    name: str
    version: str
    conforms: bool
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found.

    Args:
        host: This machine.
        versions: Packages that take part, and their versions.
        checks: Every engine known.
    """

    host: engine.Host
    versions: Mapping[str, str]
    checks: tuple[Check, ...]


def examine() -> Examination:
    """Load and test every engine on a small model made to break those that saturate or round otherwise."""
    host = engine.describe()
    return Examination(
        host=host,
        versions=lineage.tool_versions(),
        checks=tuple(_check(backend, host) for backend in engine.find().values()),
    )


def _check(backend: engine.Backend, host: engine.Host) -> Check:
    version = host.engines.get(backend.name, "")
    reason = backend.why_unavailable()
    if reason is not None:
        return Check(name=backend.name, version=version, conforms=False, outcome=reason)
    outcome = ""
    for variant in backend.variants:
        try:
            engine.check_canary(backend, variant)
        except (engine.EngineError, CheckFailed) as failure:
            outcome = outcome or failure.message
            continue
        return Check(name=backend.name, version=version, conforms=True, outcome="conforms")
    return Check(name=backend.name, version=version, conforms=False, outcome=outcome)
