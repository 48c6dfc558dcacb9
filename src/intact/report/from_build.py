"""A finished build, told as a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from intact import engine, seal
from intact.engine import CONFORMS
from intact.pipeline import artifact, lineage
from intact.pipeline.building import Built
from intact.pipeline.layers import LayerFacts
from intact.pipeline.summary import float_groups, label_agreement
from intact.pipeline.timing import Timing
from intact.report.data import (
    Artifact,
    Engine,
    KeptFloat,
    Latency,
    Layer,
    ReportData,
    Reproduction,
    Sizes,
    spanning,
)
from intact.report.pareto import pareto_of
from intact.report.render import render

if TYPE_CHECKING:
    from intact.tuning import Tuned

MAX_NAMES = 3
"""Operators of one kind told by name."""


def write(built: Built, path: Path, *, timings: Sequence[Timing] = (), command: str = "") -> None:
    """Write the report of `built` to `path` as one self-contained HTML file."""
    path.write_text(render(tell(built, timings=timings, command=command)), encoding="utf-8")


def write_tuned(tuned: Tuned, path: Path, *, timings: Sequence[Timing] = (), command: str = "") -> None:
    """Write the report of a tuning: that of its build, and the front it lies on."""
    data = replace(tell(tuned.built, timings=timings, command=command), pareto=pareto_of(tuned.front, tuned.chosen))
    path.write_text(render(data), encoding="utf-8")


def tell(built: Built, *, timings: Sequence[Timing] = (), command: str = "") -> ReportData:
    """Return all that a report says of `built`."""
    return ReportData(
        model=built.name,
        profile=artifact.profile(built),
        verdict=built.verdict,
        agreement=label_agreement(built),
        sizes=Sizes(
            float_bytes=built.float_bytes,
            integer_bytes=seal.stored_size(built.program.model, built.stored),
            sealed_bytes=None if built.path is None else sum(seal.inspect(built.path).sizes.values()),
        ),
        latencies=tuple(_latency(timing) for timing in timings),
        layers=tuple(_layer(layer) for layer in built.layers),
        cost_unit="share of the output error",
        kept_float=tuple(
            KeptFloat(name=_few(group.names), op=group.op, reason=group.reason) for group in float_groups(built)
        ),
        engines=_engines(built),
        artifact=_artifact(built),
        reproduction=Reproduction(
            command=command,
            seed=built.plan.recipe.seed,
            recipe=json.dumps(built.plan.recipe.to_json(), indent=2, sort_keys=True),
            versions=tuple(lineage.tool_versions().items()),
            host=_host(),
            source_digest=built.source_sha256,
        ),
    )


def _few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return (
        ", ".join(names)
        if len(names) <= MAX_NAMES
        else f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES} more"
    )


def _latency(timing: Timing) -> Latency:
    return Latency(
        engine=timing.engine,
        kind="float" if timing.kind == "float" else "integer",
        shape=timing.shape,
        median_ms=timing.median_ms,
        p10_ms=timing.p10_ms,
        p90_ms=timing.p90_ms,
    )


def _layer(layer: LayerFacts) -> Layer:
    return Layer(
        name=layer.name,
        op=layer.op,
        sqnr_db=layer.output_sqnr_db,
        activation=None if layer.source is None else spanning(layer.source.real, layer.source_low, layer.source_high),
        weights=spanning(layer.weights, layer.weight_low, layer.weight_high),
        cost=layer.cost,
    )


def _host() -> str:
    host = engine.describe()
    return f"{host.cpu}, {host.cores} cores"


def _engines(built: Built) -> tuple[Engine, ...]:
    """What became of every engine that was considered on this host."""
    versions = engine.describe().engines
    return tuple(
        Engine(
            name=tried.name,
            version=versions.get(tried.name.partition("/")[0], ""),
            conforms=tried.outcome == CONFORMS,
            vectors=len(built.vectors.cases),
            chosen=tried.name == built.loaded.session.name,
            note="" if tried.outcome == CONFORMS else tried.outcome,
        )
        for tried in built.loaded.tried
    )


def _artifact(built: Built) -> Artifact | None:
    if built.path is None or built.manifest is None:
        return None
    found = seal.inspect(built.path)
    return Artifact(
        artifact_id=built.manifest.artifact,
        digest=lineage.digest(built.program),
        recipients=found.recipients,
        signer=", ".join(found.signed_by) or None,
    )
