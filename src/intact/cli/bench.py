"""`intact bench`: the comparisons with peers, run from a checkout of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from intact.cli.console import err, failures, show
from intact.cli.options import Json
from intact.errors import CheckFailed, UsageError

WIDTHS = ("widths_resnet20", "widths_minilm", "widths_stories")
STANDARD_ERROR = 2
QUESTIONS = (*WIDTHS, "resnet20", "minilm", "opening", "import_time")


def bench(
    question: Annotated[
        list[str] | None,
        typer.Argument(help=f"What to ask, of {', '.join(QUESTIONS)}; every width where none is named."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--out", help="Where results go; benchmarks/results, with tables and plots, if none.")
    ] = None,
    reuse_peers: Annotated[
        bool, typer.Option("--reuse-peers", help="Take what the peers made in an earlier run; times are taken anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the comparisons with peers: accuracy, size and time of the same models, in one run.

    They are files of the repository and need a checkout of it, and the real data that INTACT_DATA names. Peers take
    part after `make bench-peers`. Exit codes: 0 done, 1 a benchmark failed, 2 no checkout or no such question.
    """
    with failures(as_json=as_json):
        asked = tuple(question or WIDTHS)
        unknown = [name for name in asked if name not in QUESTIONS]
        if unknown:
            raise UsageError(f"there is no benchmark '{unknown[0]}'", hint=f"one of {', '.join(QUESTIONS)}")
        folder = checkout() / "benchmarks"
        target = (results or folder / "results").resolve()
        target.mkdir(parents=True, exist_ok=True)
        for name in asked:
            options = ["--reuse-peers"] if reuse_peers and name in WIDTHS else []
            run(folder / f"{name}.py", options, target, as_json=as_json)
        if results is None:
            run(folder / "tables.py", [], target, as_json=as_json)
    written = [str(target / f"{name}.jsonl") for name in asked]
    show({"results": written}, lambda: err.print(f"results: {', '.join(written)}", markup=False), as_json=as_json)


def checkout() -> Path:
    """Return the repository's folder: the one this command is called in, or the one the package is installed from.

    Raises:
        UsageError: Neither is one.
    """
    for folder in (Path.cwd(), Path(__file__).parents[3]):
        if (folder / "benchmarks" / "widths.py").is_file():
            return folder
    raise UsageError("the benchmarks are not part of the package", hint="call this in a checkout of the repository")


def run(script: Path, options: list[str], results: Path, *, as_json: bool) -> None:
    """Run one benchmark in a process of its own; what it prints goes to standard error with --json.

    Raises:
        CheckFailed: It failed.
    """
    done = subprocess.run(
        [sys.executable, str(script), *options],
        cwd=script.parents[1],
        env={**os.environ, "INTACT_RESULTS": str(results)},
        stdout=STANDARD_ERROR if as_json else None,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(f"{script.name} ended with {done.returncode}", hint="its own message stands above")
