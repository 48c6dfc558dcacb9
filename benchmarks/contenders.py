"""Start what is compared, each in a process of its own, so that seconds and peak memory are its alone.

Peers run under an interpreter that has them (`make bench-peers` makes one), our builds under this one. What a process
leaves in its folder can be used again by a later run that asks for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from places import ROOT

Array = NDArray[Any]
Feeds = Mapping[str, Array]

PYTHON = Path(os.environ.get("INTACT_PEERS_PYTHON", ROOT / "build" / "peers" / "bin" / "python"))
BENCHMARKS = ROOT / "benchmarks"
LIMIT_S = 900
TOLD = 300
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What one process made.

    Args:
        name: Whose it is, and its widths last, such as "hqq W4".
        seconds: Time it took to make, without scoring.
        cpu_seconds: The same of all cores; None where an old run did not say.
        peak_bytes: Most memory its process held; None where nobody looked.
        size_bytes: Bytes on disk, or those it would need.
        counted: Whether the size was counted, since its toolkit writes none that small.
        outputs: Its outputs on the test data, where it ran them itself.
        file: A model file for an engine, or our artifact.
        packages: Versions of its toolkit.
        reused: Whether an earlier run made it.
    """

    name: str
    seconds: float
    cpu_seconds: float | None
    peak_bytes: int | None
    size_bytes: int
    counted: bool
    outputs: Array | None
    file: Path | None
    packages: Mapping[str, str]
    reused: bool


def peer(script: str, method: str, work: Path, *, reuse: bool) -> Contender | str:
    """Run one method of a peer and return what it made, or why it made nothing."""
    if not PYTHON.exists():
        return "no interpreter with the peers; run make bench-peers"
    command = [str(PYTHON), str(BENCHMARKS / f"{script}.py"), method, str(work / slug(method))]
    return _contend(method, command, work / slug(method), reuse=reuse, more={"PYTHONPATH": str(ROOT / "src")})


def ours(name: str, recipe: Path, work: Path, *, changes: Sequence[str] = (), reuse: bool = False) -> Contender | str:
    """Build `work`/float.onnx by a recipe file and return the artifact, or why there is none.

    Args:
        name: What the build is called.
        recipe: The recipe file.
        work: Folder with float.onnx and calibration.npz.
        changes: Settings of the recipe's default layer that differ, as TOML, such as "weights=3".
        reuse: Whether to take what an earlier run left.
    """
    command = [sys.executable, str(BENCHMARKS / "build_one.py"), str(recipe), str(work), str(work / slug(name))]
    return _contend(name, [*command, *changes], work / slug(name), reuse=reuse, more={})


def slug(name: str) -> str:
    """Return a file name for a candidate."""
    return re.sub(r"[^\w.]+", "-", name.lower())


def save_calibration(path: Path, pieces: Sequence[Feeds]) -> None:
    """Write calibration inputs for `load_calibration`."""
    np.savez(path, **{f"{index}/{name}": value for index, feeds in enumerate(pieces) for name, value in feeds.items()})


def load_calibration(path: Path) -> list[dict[str, Array]]:
    """Return what `save_calibration` wrote."""
    found: dict[str, dict[str, Array]] = {}
    with np.load(path) as archive:
        for key in archive.files:
            index, name = key.split("/", 1)
            found.setdefault(index, {})[name] = archive[key]
    return list(found.values())


def _contend(
    name: str, command: Sequence[str], folder: Path, *, reuse: bool, more: Mapping[str, str]
) -> Contender | str:
    told = folder / "made.json"
    reused = reuse and told.exists()
    if not reused:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        refusal = _run(command, folder, more)
        if refusal is not None:
            return refusal
    made = json.loads(told.read_text(encoding="utf-8"))
    file = None if made["file"] is None else folder / made["file"]
    outputs = folder / "outputs.npy"
    return Contender(
        name=name,
        seconds=made["seconds"],
        cpu_seconds=made.get("cpu_seconds"),
        peak_bytes=made["peak_bytes"],
        size_bytes=made["size_bytes"] or _file_bytes(file),
        counted=made["size_bytes"] is not None,
        outputs=np.load(outputs) if outputs.exists() else None,
        file=file,
        packages=made["packages"],
        reused=reused,
    )


def _run(command: Sequence[str], folder: Path, more: Mapping[str, str]) -> str | None:
    """Run `command` with its output in folder/log; return what went wrong, or None."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **more}
    with (folder / "log").open("w", encoding="utf-8") as log:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"not through after {LIMIT_S} s"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    lines = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return _last_error(lines)[:TOLD] or f"ended with {done.returncode}"


def _last_error(lines: Sequence[str]) -> str:
    """Return the last line that names an error, without this machine's folders; else the last line."""
    named = [line for line in lines if re.match(r"^(error: |[\w.]*(Error|Exception|Failed|Interrupt)\b)", line)]
    return " ".join((named or list(lines) or [""])[-1].replace(str(ROOT), "").split())


def _file_bytes(path: Path | None) -> int:
    """Size of a model file, with the weights that OpenVINO puts beside its own; of all files of an artifact."""
    assert path is not None
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)
