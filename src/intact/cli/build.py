"""`intact build`: from a float model to a checked, sealed integer model."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.cli.console import err, failures, out, progress, show
from intact.cli.options import (
    AllowEngine,
    ArtifactId,
    Calibrate,
    Certificates,
    Engine,
    Json,
    MaxDrop,
    MinimumRevision,
    NewPassphrase,
    NoGuard,
    NoRevisions,
    NotAfter,
    NotBefore,
    Quiet,
    Recipient,
    Report,
    Revises,
    RevisesOlder,
    Revision,
    Revisions,
    Sign,
    Source,
    Target,
    Threads,
    remembered,
)
from intact.cli.passphrase import ask_passphrase
from intact.errors import UsageError


def build(
    source: Source,
    target: Target,
    calibrate: Calibrate = None,
    max_drop: MaxDrop = 0.005,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="How to compress, as a TOML file.")] = None,
    recipient: Recipient = None,
    passphrase: NewPassphrase = False,
    sign: Sign = None,
    certificates: Certificates = None,
    report: Report = None,
    require_pass: Annotated[
        bool, typer.Option("--require-pass", help="Treat an inconclusive accuracy check as a failure.")
    ] = False,
    engine: Engine = None,
    threads: Threads = None,
    not_before: NotBefore = None,
    not_after: NotAfter = None,
    allow_engine: AllowEngine = None,
    minimum_revision: MinimumRevision = None,
    revises: Revises = None,
    artifact_id: ArtifactId = None,
    revision: Revision = None,
    revisions: Revisions = None,
    no_revisions: NoRevisions = False,
    allow_older: RevisesOlder = False,
    no_guard: NoGuard = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build a small, fast, sealed integer model from a trained float one, and check that it is as good.

    Exit codes: 0 built, 1 over budget, 2 bad input, 3 damaged data, 4 no access.
    """
    with failures(as_json=as_json):
        from intact import pipeline

        # target, keys and recipe first: a slip there must not cost a build
        pipeline.refuse_existing(target)
        if report is not None:
            pipeline.refuse_unwritable(report)
        secret = ask_passphrase(confirm=True) if passphrase else None
        options: dict[str, Any] = {
            "recipe": None if recipe is None else pipeline.read_recipe(recipe),
            "recipients": pipeline.recipients(recipient or (), passphrase=secret),
            "signer": None if sign is None else pipeline.load_signing_key(sign, certificates),
        }
        options |= {
            "policy": pipeline.Policy.of(
                not_before=not_before,
                not_after=not_after,
                engines=allow_engine,
                minimum_revision=minimum_revision,
            ),
            "revises": revises,
            "artifact_id": artifact_id,
            "revision": revision,
            "revisions": remembered(revisions, nowhere=no_revisions),
            "allow_older": allow_older,
            "guard": not no_guard,
        }
        spec = pipeline.with_calibration(pipeline.read_source(source), calibrate)
        options |= {"max_drop": max_drop, "engines": engine, "threads": threads, "require_pass": require_pass}
        with progress(quiet=quiet or as_json) as bar:
            built = _build(spec, target, report, {**options, "progress": bar})
    _tell(built, quiet=quiet, as_json=as_json)


def _build(spec: Any, target: Path, report: Path | None, options: dict[str, Any]) -> Any:
    """Build and report; what went over budget is reported too."""
    from intact import pipeline

    try:
        built = pipeline.build(spec, out=target, measure_costs=report is not None, **options)
    except pipeline.OverBudget as error:
        _report(error.built, report, options["threads"])
        raise
    _report(built, report, options["threads"])
    return built


def _report(built: Any, path: Path | None, threads: int | None) -> None:
    if path is None:
        return
    from intact import pipeline
    from intact.report import write

    timings = pipeline.measure(built, threads=threads)
    try:
        write(built, path, timings=timings, command=shlex.join(["intact", *sys.argv[1:]]))
    except OSError as error:
        raise UsageError(f"the report '{path}' cannot be written: {error.strerror}") from error


def _tell(built: Any, *, quiet: bool, as_json: bool) -> None:
    show(built.to_json(), lambda: out.print("\n".join(built.summary()), markup=False), as_json=as_json)
    if quiet or as_json:
        return
    if built.manifest is not None and not built.manifest.sealed:
        err.print("remark: not encrypted; give --recipient to encrypt it", markup=False)
    if built.manifest is not None and not built.signed:
        err.print("remark: not signed; give --sign so that readers can tell it is yours", markup=False)
    if built.verdict is not None and built.verdict.outcome == "inconclusive":
        err.print("remark: inconclusive is not a pass; --require-pass makes it a failure", markup=False)
    if built.verdict is None:
        err.print("remark: accuracy was not checked; return a Spec with evaluate=... to have it checked", markup=False)
