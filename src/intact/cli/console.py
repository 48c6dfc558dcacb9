"""What the command says, and where.

Rules: results go to standard output, everything else to standard error. A failure is two lines, `error:` and `hint:`.
With --json the result is one JSON object on standard output, failures included. --quiet leaves only results and errors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from intact.errors import IntactError

INTERRUPTED = 130

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


def show(result: Mapping[str, Any], lines: Callable[[], None], *, as_json: bool) -> None:
    """Print a result: the object as JSON, or what `lines` prints."""
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2, sort_keys=True, default=str) + "\n")
    else:
        lines()


@contextmanager
def failures(*, as_json: bool = False) -> Iterator[None]:
    """Turn the package's errors into messages and exit codes."""
    try:
        yield
    except IntactError as error:
        tell(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        tell(IntactError("interrupted", hint="what was finished before is whole; start again"), as_json=as_json)
        raise typer.Exit(INTERRUPTED) from error


def tell(error: IntactError, *, as_json: bool) -> None:
    """Say what went wrong and what to do next."""
    if as_json:
        body = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
        sys.stdout.write(json.dumps(body, indent=2, sort_keys=True) + "\n")
        return
    err.print(f"error: {_lines(error.message)}", markup=False, soft_wrap=True)
    if error.hint:
        err.print(f"hint: {_lines(error.hint)}", markup=False, soft_wrap=True)


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def printable(text: str) -> str:
    """Text from a stranger as one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage of long work, on a terminal only."""
    if quiet or not err.is_terminal:
        yield lambda stage, done, total: None
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def step(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield step
