"""Results as JSON lines: every line says what was measured, on what, with what, at which commit."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from intact import engine
from places import RESULTS, ROOT

PACKAGES = ("intact", "numpy", "onnx", "onnxruntime", "openvino", "torch", "cryptography")
SIGNIFICANT = 6

Record = dict[str, Any]


class Results:
    """The lines of one benchmark, written as a whole when it is through.

    Args:
        name: Name of the benchmark and of its file.
        threads: Threads of every engine.
    """

    def __init__(self, name: str, threads: int | None = None) -> None:
        self.name = name
        self._facts = {"threads": threads, **facts()}
        self._records: list[Record] = []
        self._start = time.perf_counter()

    def add(self, kind: str, **values: Any) -> None:
        """Add one line, and show it."""
        plain = {key: _plain(value) for key, value in values.items()}
        self._records.append({"benchmark": self.name, "kind": kind, **plain, **self._facts})
        elapsed = time.perf_counter() - self._start
        print(f"{elapsed:6.1f} s {kind:10s}", *(f"{key}={value}" for key, value in plain.items()), flush=True)

    def write(self, folder: Path = RESULTS, *, merge: bool = False) -> Path:
        """Write the lines over those of an earlier run.

        Args:
            folder: Where results lie.
            merge: Whether lines of the earlier run stay that this one has no other for; each says its own commit.
        """
        path = folder / f"{self.name}.jsonl"
        temporary = path.with_suffix(".new")
        new = {_key(record): record for record in self._records}
        records = (
            list(({_key(record): record for record in read(self.name, folder)} | new).values())
            if merge
            else self._records
        )
        temporary.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
        temporary.replace(path)
        print(f"results: {path.name}")
        return path


def _key(record: Record) -> tuple[Any, ...]:
    """What a line is about."""
    return tuple(record.get(name) for name in ("kind", "model", "candidate", "case", "callers", "ours", "peer"))


def read(name: str, folder: Path = RESULTS) -> list[Record]:
    """Return the lines of a benchmark; none where it was never run."""
    path = folder / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def pick(records: Iterable[Record], **wanted: Any) -> list[Record]:
    """Return the records that have all these values."""
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def facts() -> Record:
    """Return what this machine and the software on it are."""
    host = engine.describe()
    return {
        "host": {"system": host.system, "cpu": host.cpu, "cores": host.cores, "features": list(host.features)},
        "python": platform.python_version(),
        "versions": _versions(),
        **_commit(),
    }


def _versions() -> Mapping[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> Record:
    """Return the commit, and whether anything but results and README differs from it."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return {"commit": None, "changed": None}
    commit = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    status = [git, "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md"]
    changes = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {"commit": commit.strip(), "changed": bool(changes.strip())}


def _plain(value: Any) -> Any:
    """Return `value` as JSON takes it, with no more digits than mean something."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    return float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value
