"""Scanners of others, each in a process of its own: fickling (pickles) and modelscan. None of them is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from intact.errors import UsageError
from intact.scan.findings import FileReport, Finding, Report

TIMEOUT_S: Final = 120
MAX_ANSWER: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """How another scanner is called and answers.

    Args:
        name: Its name, and that of its command.
        arguments: What it is called with: `arguments(file, answer)`.
        wanted: Whether it is asked about a file.
        read: What it said: `read(answer)` gives the texts of what it found.
    """

    name: str
    arguments: Callable[[str, str], list[str]]
    wanted: Callable[[FileReport], bool]
    read: Callable[[Any], list[str]]


def _fickling(answer: Any) -> list[str]:
    if answer["severity"] == "LIKELY_SAFE":
        return []
    return [f"{answer['severity']}: {line}" for line in str(answer["analysis"]).splitlines()]


def _modelscan(answer: Any) -> list[str]:
    return [f"{issue['severity']}: {issue['description']}" for issue in answer["issues"]]


SCANNERS: Final = {
    "fickling": Scanner(
        name="fickling",
        arguments=lambda file, answer: ["--check-safety", "--json-output", answer, file],
        wanted=lambda report: report.format == "pickle",
        read=_fickling,
    ),
    "modelscan": Scanner(
        name="modelscan",
        arguments=lambda file, answer: ["-p", file, "-r", "json", "-o", answer],
        wanted=lambda report: True,
        read=_modelscan,
    ),
}


def ask(report: Report, names: Sequence[str]) -> Report:
    """Return `report` with what the named scanners find beside. What they find nothing in stays refused.

    Raises:
        UsageError: One of them is unknown or not installed, or gives no answer.
    """
    commands = [(_known(name), _command(name)) for name in dict.fromkeys(names)]
    files = []
    for file in report.files:
        found: list[Finding] = []
        for scanner, command in commands:
            if scanner.wanted(file) and not Path(file.path).is_symlink():
                found += _asked(scanner, command, file.path)
        files.append(replace(file, findings=(*file.findings, *found)))
    return Report(files=tuple(files))


def _known(name: str) -> Scanner:
    if name not in SCANNERS:
        raise UsageError(f"there is no scanner '{name}'", hint=f"one of {', '.join(SCANNERS)}")
    return SCANNERS[name]


def _command(name: str) -> str:
    """Return where the command lies: beside this Python, or on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise UsageError(
            f"{name} is not installed", hint=f"pip install {name}, in an environment of its own if need be"
        )
    return str(Path(found).absolute())


def _asked(scanner: Scanner, command: str, path: str) -> list[Finding]:
    """Ask one scanner about one file. It starts in an empty folder, so that nothing beside the file is imported."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        place = str(Path(path).resolve())
        try:
            subprocess.run(
                [command, *scanner.arguments(place, str(answer))],
                cwd=folder,
                env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            with answer.open("rb") as file:
                told = scanner.read(json.loads(file.read(MAX_ANSWER)))
        except FileNotFoundError:
            return _nothing(scanner, path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"{scanner.name} gave no answer on {path!a}: {type(error).__name__}") from error
    return [Finding(kind="code", told=text, found_by=scanner.name) for text in told]


def _nothing(scanner: Scanner, path: str) -> list[Finding]:
    """A scanner that wrote no answer did not look."""
    raise UsageError(f"{scanner.name} gave no answer on {path!a}", hint="scan without it")
