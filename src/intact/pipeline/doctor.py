"""What this host is, and which engines compute on it what a model defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intact import engine
from intact.pipeline import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One way of running an engine on this host.

    Args:
        name: The engine and, after a slash, its variant.
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
        checks: Every engine known, in each of its variants.
    """

    host: engine.Host
    versions: Mapping[str, str]
    checks: tuple[Check, ...]


def examine() -> Examination:
    """Try every way of running every engine on a small model made to break those that saturate or round otherwise."""
    host = engine.describe()
    return Examination(
        host=host,
        versions=lineage.tool_versions(),
        checks=tuple(
            Check(
                name=tried.name,
                version=host.engines.get(tried.name.partition("/")[0], ""),
                conforms=tried.outcome == engine.CONFORMS,
                outcome=tried.outcome,
            )
            for tried in engine.survey()
        ),
    )
