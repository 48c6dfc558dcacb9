"""README shows what the benchmarks found: its tables are what benchmarks/tables.py makes of benchmarks/results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACTS = {
    "host": {"system": "Linux x86_64", "cpu": "some CPU", "cores": 2, "features": []},
    "threads": None,
    "versions": {"numpy": "2.0"},
    "commit": "0123456789abcdef",
    "changed": False,
}
WANTED = """| in a fresh process | ms, median |
| --- | ---: |
| `import intact` | 12.3 |

<sub>some CPU, 2 cores; commit 0123456.</sub>
"""


def tables(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def marked(body: str, name: str = "import") -> str:
    return f"# Title\n\n<!-- table:{name} -->\n{body}<!-- /table:{name} -->\n\nafter\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    line = {"benchmark": "import_time", "kind": "import", "candidate": "import intact", "median_ms": 12.34, **FACTS}
    (folder / "import_time.jsonl").write_text(f"{json.dumps(line)}\n")
    return folder


def test_the_tables_of_readme_are_those_of_the_results() -> None:
    done = tables("--check")
    assert done.returncode == 0, done.stderr


def test_a_table_is_written_between_its_markers_and_then_holds(tmp_path: Path, results: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(marked("| an old table |\n"))
    assert tables("--readme", readme, "--results", results).returncode == 0
    assert readme.read_text() == marked(WANTED)
    assert tables("--check", "--readme", readme, "--results", results).returncode == 0


def test_check_refuses_an_old_table_and_changes_nothing(tmp_path: Path, results: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(marked("| an old table |\n"))
    done = tables("--check", "--readme", readme, "--results", results)
    assert done.returncode == 1
    assert "out of date" in done.stderr
    assert readme.read_text() == marked("| an old table |\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (marked("", "weather"), "there is no table 'weather'"),
        (marked("", "opening"), "lack opening.jsonl"),
        ("<!-- table:import -->\nno end\n", "no partner"),
        ("<!-- table:import -->\n<!-- /table:opening -->\n", "no partner"),
    ],
)
def test_markers_that_cannot_be_followed_are_refused(tmp_path: Path, results: Path, text: str, told: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    done = tables("--readme", readme, "--results", results)
    assert done.returncode == 2
    assert told in done.stderr
    assert readme.read_text() == text


def test_a_readme_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert tables("--check", "--readme", tmp_path / "README.md").returncode == 2
