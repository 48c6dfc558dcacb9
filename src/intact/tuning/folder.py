"""The folder a tuning works in: one tuner at a time, and a journal of every finished trial."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intact.errors import IntegrityError, UsageError

JOURNAL = "journal.jsonl"
LOCK = "lock"
VERSION = 1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; the system lets go of it however the process ends.

    Raises:
        UsageError: Another tuner works there; or it cannot be made, or holds other things than a tuning.
    """
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"the folder of '{folder}' does not exist", hint="make it first")
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).is_file():
            raise UsageError(f"'{folder}' exists already and is no tuning's folder", hint="choose another --folder")
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"cannot work in '{folder}': {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(
            f"another tuner works in '{folder}'", hint="wait for it, or give this one another --folder"
        ) from error
    try:
        yield
    finally:
        _drop_unused(folder)
        os.close(descriptor)


def _drop_unused(folder: Path) -> None:
    """Remove a folder in which nothing was kept: a tuning that failed at its start leaves nothing behind."""
    with suppress(OSError):  # another tuner may have come in the meantime
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()


class Journal:
    """Finished trials by their key; each is on disk before the next is asked for.

    Args:
        path: One JSON object a line: first what the trials are of, then a trial each.
        about: What the trials are of; another journal's trials are not taken.

    Raises:
        UsageError: The journal is of another model, other data or other versions.
        IntegrityError: A line before the last is damaged. (A torn last line is what a kill leaves; it is dropped.)
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._results: dict[str, dict[str, Any]] = {}
        lines = _whole_lines(path)
        if not lines:
            self._append({"journal": VERSION, "about": dict(about)})
            return
        first, *rest = lines
        _refuse_foreign(path, first, about)
        for number, line in enumerate(rest, start=2):
            if not isinstance(line.get("key"), str) or not isinstance(line.get("result"), dict):
                raise IntegrityError(f"line {number} of '{path}' is no trial", hint="remove the folder and start again")
            self._results[line["key"]] = line["result"]

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._results[key]

    def get(self, key: str) -> dict[str, Any] | None:
        """The result kept under `key`, or None."""
        return self._results.get(key)

    def __contains__(self, key: object) -> bool:
        return key in self._results

    def add(self, key: str, kind: str, result: Mapping[str, Any], seconds: float) -> None:
        """Keep a finished trial."""
        self._results[key] = dict(result)
        self._append({"key": key, "kind": kind, "seconds": round(seconds, 3), "result": dict(result)})

    def _append(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, sort_keys=True, allow_nan=False) + "\n").encode()
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UsageError(f"cannot write '{self._path}': {error.strerror}", hint="check the free space") from error


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; what follows the last line end is cut off, in the file too."""
    try:
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from error
    found = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _damaged(path, number) from error
        if not isinstance(value, dict):
            raise _damaged(path, number)
        found.append(value)
    return found


def _damaged(path: Path, number: int) -> IntegrityError:
    return IntegrityError(f"line {number} of '{path}' is damaged", hint="remove the folder and start again")


def _refuse_foreign(path: Path, first: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    if first.get("journal") != VERSION or not isinstance(first.get("about"), dict):
        raise UsageError(f"'{path}' is no journal of this tuner", hint="choose another --folder")
    found = first["about"]
    other = sorted(key for key in {*found, *about} if found.get(key) != about.get(key))
    if other:
        raise UsageError(
            f"'{path}' is the journal of another tuning: it differs in {', '.join(other)}",
            hint="choose another --folder, or remove this one",
        )
