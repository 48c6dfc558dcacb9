"""`intact tune`: the smallest model that keeps the accuracy budget, and the proof of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.cli.console import err, failures, out, progress, show
from intact.cli.options import (
    Calibrate,
    Certificates,
    Engine,
    Json,
    MaxDrop,
    NewPassphrase,
    Quiet,
    Recipient,
    Report,
    Sign,
    Source,
    Target,
    Threads,
)
from intact.cli.passphrase import ask_passphrase
from intact.errors import UsageError

Minimize = Annotated[str, typer.Option("--minimize", help="What is to be small: size, latency or bits (of a weight).")]
Settings = Annotated[Path | None, typer.Option("--recipe", help="Settings of what is not tuned, as a TOML file.")]
Width = Annotated[
    list[int] | None, typer.Option("--width", help="Bits that weights may have; repeatable. 2 3 4 5 6 8 if left out.")
]
Group = Annotated[
    list[int] | None,
    typer.Option("--group", help="Columns that may share a scale, 0 for whole rows; repeatable. 0 if left out."),
]
Method = Annotated[
    list[str] | None,
    typer.Option("--method", help="Rounding that may be used; repeatable. The recipe's if left out."),
]
Escalations = Annotated[
    list[str] | None,
    typer.Option(
        "--escalation",
        help="What to try where widths do not do: widen, method, reconstruct or retrain; repeatable. All if left out.",
    ),
]
Train = Annotated[
    Path | None,
    typer.Option("--train", help="Inputs to retrain on, as an .npz file. The calibration data if left out."),
]
TrainMinutes = Annotated[float, typer.Option("--train-minutes", min=0.1, help="Most time that retraining takes.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Most candidates that a round checks.")]
Executor = Annotated[str, typer.Option("--executor", help="Where trials run: process, here or ray.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Trials at a time. One a core if left out.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Time after which only the final build is begun.")]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where trials are kept to go on after a stop. TARGET.tuning if left out."),
]


def tune(
    source: Source,
    target: Target,
    max_drop: MaxDrop = 0.005,
    minimize: Minimize = "size",
    calibrate: Calibrate = None,
    recipe: Settings = None,
    width: Width = None,
    group: Group = None,
    method: Method = None,
    escalation: Escalations = None,
    train: Train = None,
    train_minutes: TrainMinutes = 10.0,
    steps: Steps = 8,
    executor: Executor = "process",
    workers: Workers = None,
    minutes: Minutes = None,
    folder: Folder = None,
    recipient: Recipient = None,
    passphrase: NewPassphrase = False,
    sign: Sign = None,
    certificates: Certificates = None,
    report: Report = None,
    engine: Engine = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Choose a width for every layer so that the model is as small as can be within a budget, and prove it.

    The folder holds every finished trial: the same command goes on where it was stopped. It also gets pareto.json, what
    can be had for what, and recipe.toml, the winner, for `intact build --recipe`.

    Exit codes: 0 the budget is kept, 1 it could not be shown to be, 2 bad input.
    """
    with failures(as_json=as_json):
        from intact import pipeline, tuning

        # target, keys and recipe first: a slip there must not cost a tuning
        pipeline.refuse_existing(target)
        if report is not None:
            pipeline.refuse_unwritable(report)
        secret = ask_passphrase(confirm=True) if passphrase else None
        options: dict[str, Any] = {
            "recipe": None if recipe is None else pipeline.read_recipe(recipe),
            "recipients": pipeline.recipients(recipient or (), passphrase=secret),
            "signer": None if sign is None else pipeline.load_signing_key(sign, certificates),
            "space": _space(width, group, method),
            "folder": target.with_suffix(".tuning") if folder is None else folder,
            "escalations": escalation,
            "retrain": tuning.Distiller(
                data=None if train is None else pipeline.read_npz(train), minutes=train_minutes
            ),
        }
        options |= {"minimize": minimize, "max_drop": max_drop, "engines": engine, "threads": threads, "steps": steps}
        options |= {"executor": executor, "workers": workers, "minutes": minutes}
        spec = pipeline.with_calibration(pipeline.read_source(source), calibrate)
        with progress(quiet=quiet or as_json) as bar:
            tuned = tuning.tune(spec, out=target, progress=bar, **options)
        _report(tuned, report, threads)
    _tell(tuned, quiet=quiet, as_json=as_json)


def _space(widths: list[int] | None, groups: list[int] | None, methods: list[str] | None) -> Any:
    from intact.tuning import Space

    usual = Space()
    return Space(
        widths=tuple(widths or usual.widths),
        groups=tuple(groups or usual.groups),
        methods=tuple(methods or usual.methods),
    )


def _report(tuned: Any, path: Path | None, threads: int | None) -> None:
    if path is None:
        return
    from intact import pipeline
    from intact.report import write_tuned

    timings = pipeline.measure(tuned.built, threads=threads)
    try:
        write_tuned(tuned, path, timings=timings, command=shlex.join(["intact", *sys.argv[1:]]))
    except OSError as error:
        raise UsageError(f"the report '{path}' cannot be written: {error.strerror}") from error


def _tell(tuned: Any, *, quiet: bool, as_json: bool) -> None:
    show(tuned.to_json(), lambda: out.print("\n".join(tuned.summary()), markup=False), as_json=as_json)
    if quiet or as_json:
        return
    for remark in tuned.remarks:
        err.print(f"remark: {remark}", markup=False)
    if tuned.built.manifest is not None and not tuned.built.manifest.sealed:
        err.print("remark: not encrypted; give --recipient to encrypt it", markup=False)
    if tuned.built.manifest is not None and not tuned.built.signed:
        err.print("remark: not signed; give --sign so that readers can tell it is yours", markup=False)
