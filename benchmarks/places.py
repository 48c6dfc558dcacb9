"""Where the benchmarks find the examples, and where they leave what they make."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("INTACT_RESULTS", ROOT / "benchmarks" / "results"))
WORK = ROOT / "build" / "benchmarks"
EXAMPLES = ROOT / "examples"


def example(name: str) -> ModuleType:
    """Return the module examples/NAME.py."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    return import_module(name)


def work(name: str) -> Path:
    """Return the folder build/benchmarks/NAME, made if need be."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
