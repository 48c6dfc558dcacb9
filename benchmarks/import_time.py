"""How long `import intact` and `intact --help` take in a fresh process, and that torch stays out.

Run `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from places import ROOT
from results import Results
from timing import Plan, clocked, race

PLAN = Plan(warm=1, burst=1, rounds=15, budget_s=60)
TARGET_S = 0.3
CHILD = (
    "import sys, time; start = time.perf_counter(); import intact; "
    "print((time.perf_counter() - start) * 1e3, 'torch' in sys.modules)"
)
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import intact'": [sys.executable, "-c", "import intact"],
    "intact --help": [str(Path(sys.executable).parent / "intact"), "--help"],
}


def main() -> None:
    """Check, time, write."""
    results = Results("import_time")
    inner = race({"import intact": import_ms}, PLAN)
    results.add("import", candidate="import intact", **inner.summary("import intact"), target_ms=TARGET_S * 1e3)
    whole = race({name: clocked(partial(run, command)) for name, command in COMMANDS.items()}, PLAN)
    for name in COMMANDS:
        results.add("process", candidate=name, **whole.summary(name))
    results.write()


def import_ms() -> float:
    """Return how long the import takes in a fresh process."""
    ms, torch = run([sys.executable, "-c", CHILD]).split()
    assert not json.loads(torch.lower()), "import intact imports torch"
    return float(ms)


def run(command: list[str]) -> str:
    """Return what `command` prints."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
