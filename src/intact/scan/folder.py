"""A file, or all files of a folder: nothing is followed out of it, and no depth or number is without end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from intact.errors import UsageError
from intact.scan.blob import open_blob
from intact.scan.examining import examine
from intact.scan.findings import FileReport, Finding, Report

MAX_FILES: Final = 100_000
MAX_DEPTH: Final = 32
EXTERNAL: Final = "data of an ONNX model"


def scan(path: Path | str) -> Report:
    """Say of a file, or of every file in a folder, what it is by its content and why it is refused.

    Nothing is unpickled, imported or run; links in a folder are not followed.

    Raises:
        UsageError: There is nothing at `path`, or the system refuses to read it.
    """
    place = Path(path)
    if not place.exists():
        raise UsageError(f"there is nothing at {str(place)!a}")
    if not place.is_dir():
        real = place.resolve()  # the caller named it: a link is theirs to follow
        with open_blob(real) as blob:
            return Report(files=(examine(blob, str(place), real.parent),))
    found: list[FileReport] = []
    for each in _walk(place, 0):
        if len(found) == MAX_FILES:
            raise UsageError(f"{str(place)!a} holds more than {MAX_FILES} files", hint="scan its parts")
        found.append(each)
    return Report(files=tuple(_with_data(found, place)))


def _walk(folder: Path, depth: int) -> Iterator[FileReport]:
    """Yield what lies in `folder`, by name, and below."""
    if depth > MAX_DEPTH:
        raise UsageError(f"{str(folder)!a:.200} lies more than {MAX_DEPTH} folders deep", hint="scan its parts")
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"cannot read {str(folder)!a}: {error.strerror}") from error
    for entry in entries:
        place = folder / entry.name
        if entry.is_symlink():
            yield _refused(place, "link", "a symbolic link: what it leads to is not looked at (cp -L copies it)")
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(place, depth + 1)
        elif entry.is_file(follow_symlinks=False):
            with open_blob(place) as blob:
                yield examine(blob, str(place), folder)
        else:
            yield _refused(place, "link", "neither a file nor a folder")


def _refused(path: Path, kind: str, told: str) -> FileReport:
    return FileReport(path=str(path), format="unknown", findings=(Finding(kind=kind, told=told),))


def _with_data(files: list[FileReport], folder: Path) -> Iterator[FileReport]:
    """Let through files of no format that an ONNX model of the folder, itself let through, keeps its weights in."""
    used = {str(Path(file.path).parent / name) for file in files if file.clean for name in file.uses}
    for file in files:
        nameless = file.format == "unknown" and all(finding.kind == "unknown" for finding in file.findings)
        yield FileReport(path=file.path, format=EXTERNAL) if nameless and file.path in used else file
