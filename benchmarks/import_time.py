"""How long `import intact` and `intact --help` take in a fresh process, and that torch stays out.

Run `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from places import ROOT
from results import Results
from timing import Plan, clocked, race

PLAN = Plan(warm=1, burst=1, rounds=15, budget_s=60)
TARGET_MS = 300
CHILD = (
    "import sys, time; start = time.perf_counter(); {statement}; "
    "print((time.perf_counter() - start) * 1e3, 'torch' in sys.modules)"
)
STATEMENTS = ("import intact", "from intact import open", "from intact import build, open")
"""Names are loaded when they are first used, so the bare import says little by itself."""
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import intact'": [sys.executable, "-c", "import intact"],
    "intact --help": [str(Path(sys.executable).parent / "intact"), "--help"],
}


def main() -> None:
    """Check, time, write."""
    results = Results("import_time")
    inner = race({statement: partial(import_ms, statement) for statement in STATEMENTS}, PLAN)
    for statement in STATEMENTS:
        results.add("import", candidate=statement, **inner.summary(statement), others=inner.others, target_ms=TARGET_MS)
    whole = race({name: clocked(partial(run, command)) for name, command in COMMANDS.items()}, PLAN)
    for name in COMMANDS:
        results.add("process", candidate=name, **whole.summary(name), others=whole.others)
    results.write()


def import_ms(statement: str) -> float:
    """Return how long the import takes in a fresh process."""
    ms, torch = run([sys.executable, "-c", CHILD.format(statement=statement)]).split()
    assert torch == "False", f"'{statement}' imports torch"
    return float(ms)


def run(command: list[str]) -> str:
    """Return what `command` prints."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
