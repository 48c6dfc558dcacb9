"""One build of ours from an ONNX file by a recipe, in a process that never sees torch: run by `contenders.ours`.

Usage: build_one.py RECIPE.toml WORK FOLDER [SETTING=VALUE ...]
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import intact
from contenders import load_calibration
from intact.errors import IntactError
from intact.pipeline import read_recipe
from memory import peak_bytes

THREADS = 2


def main(recipe_path: str, work: str, folder: str, *changes: str) -> None:
    """Build, and say what it took."""
    recipe = read_recipe(Path(recipe_path))
    settings = tomllib.loads("\n".join(changes))
    recipe = replace(recipe, default=replace(recipe.default, **settings))
    spec = intact.Spec(
        model=Path(work) / "float.onnx",
        calibration=load_calibration(Path(work) / "calibration.npz"),
        name=Path(work).name,
    )
    before = peak_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    intact.build(spec, recipe=recipe, out=Path(folder) / "model.intact", engines=["onnxruntime"], threads=THREADS)
    told = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": peak_bytes(),
        "before_bytes": before,
        "size_bytes": None,
        "file": "model.intact",
        "packages": {},
    }
    (Path(folder) / "made.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except IntactError as refusal:
        sys.exit(f"error: {refusal}")
