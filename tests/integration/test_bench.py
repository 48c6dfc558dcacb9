"""`intact bench` runs the repository's comparisons, and their tables and plots say what the results say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from intact.cli import app, bench
from intact.errors import UsageError

ROOT = Path(__file__).parents[2]
FACTS = {
    "host": {"system": "Linux x86_64", "cpu": "some CPU", "cores": 2, "features": []},
    "threads": 2,
    "versions": {"onnxruntime": "1.31"},
    "commit": "0123456789abcdef",
    "changed": False,
}
ASKED = "import os, sys, pathlib; folder = pathlib.Path(os.environ['INTACT_RESULTS']); "


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose benchmarks only say how they were called."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "widths.py").write_text("")
    (folder / "widths_stories.py").write_text(ASKED + "(folder / 'widths_stories.jsonl').write_text(str(sys.argv[1:]))")
    (folder / "opening.py").write_text(ASKED + "(folder / 'opening.jsonl').write_text(str(sys.argv[1:]))")
    (folder / "tables.py").write_text(ASKED + "(folder / 'tables').write_text('')")
    (folder / "minilm.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    return folder


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_a_question_is_asked_in_a_process_of_its_own_and_tables_follow(checkout: Path) -> None:
    done = call("widths_stories", "opening", "--reuse-peers", "--json")
    results = checkout / "results"
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["results"] == [str(results / f"{n}.jsonl") for n in ("widths_stories", "opening")]
    assert (results / "widths_stories.jsonl").read_text() == "['--reuse-peers']"
    assert (results / "opening.jsonl").read_text() == "[]"
    assert (results / "tables").exists()


def test_results_go_where_they_are_sent_and_leave_the_tables_alone(checkout: Path, tmp_path: Path) -> None:
    assert call("opening", "--out", str(tmp_path / "elsewhere")).exit_code == 0
    assert (tmp_path / "elsewhere" / "opening.jsonl").exists()
    assert not (checkout / "results").exists()


def test_a_benchmark_that_fails_is_told_and_ends_the_run(checkout: Path) -> None:
    done = call("minilm", "opening", "--json")
    assert done.exit_code == 1
    assert "minilm.py ended with 3" in json.loads(done.stdout)["error"]
    assert not (checkout / "results" / "opening.jsonl").exists()


def test_a_question_that_is_not_there_is_refused_before_any_is_asked(checkout: Path) -> None:
    done = call("opening", "weather", "--json")
    assert done.exit_code == 2
    assert "'weather'" in json.loads(done.stdout)["error"]
    assert not (checkout / "results").exists()


def test_without_a_checkout_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "intact" / "cli" / "bench.py"))
    with pytest.raises(UsageError, match="not part of the package"):
        bench.checkout()


def test_every_question_is_a_file_of_the_repository() -> None:
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in bench.QUESTIONS)


# ---- the processes of what is compared


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("contenders")


MAKES = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "model.onnx").write_bytes(bytes(123))
told = {"seconds": 1.5, "peak_bytes": 7, "size_bytes": None, "file": "model.onnx", "packages": {}}
(folder / "made.json").write_text(json.dumps(told))
"""


def test_what_a_process_made_is_taken_and_can_be_used_again(contenders: Any, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    made = contenders._contend("some W4", [sys.executable, "-c", MAKES, str(folder)], folder, reuse=True, more={})
    assert (made.size_bytes, made.counted, made.seconds, made.reused) == (123, False, 1.5, False)
    again = contenders._contend("some W4", ["no-such-command"], folder, reuse=True, more={})
    assert again.reused
    assert again.file == made.file


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("print('much'); raise ValueError('no such width')", "ValueError: no such width"),
        ("import sys; sys.exit('error: the recipe is wrong')", "error: the recipe is wrong"),
        ("raise SystemExit(5)", "ended with 5"),
    ],
)
def test_why_a_process_made_nothing_is_told(contenders: Any, tmp_path: Path, program: str, told: str) -> None:
    assert contenders._contend("x", [sys.executable, "-c", program], tmp_path / "x", reuse=False, more={}) == told


def test_peers_without_an_interpreter_are_told(
    contenders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "PYTHON", tmp_path / "nowhere")
    assert "make bench-peers" in contenders.peer("peer_stories", "hqq W4", tmp_path, reuse=False)


# ---- tables and plots


def point(model: str, owner: str, size: int, agreement: float, kind: str = "point", **more: Any) -> dict[str, Any]:
    return {
        "benchmark": "widths_resnet20",
        "kind": kind,
        "model": model,
        "owner": owner,
        "size_bytes": size,
        "accuracy": 80.0,
        "agreement": agreement,
        **more,
        **FACTS,
    }


MADE = {"seconds": 12.3, "peak_bytes": 10**8, "packages": {}, "reused": False}
POINTS = [
    point("float", "float", 1_160_000, 100.0),
    point("intact W4A8", "intact", 190_000, 96.5, profile="exact", differing=0, counted=False, runs=True, **MADE),
    point("sweep nearest W2", "intact", 120_000, 12.0, kind="sweep", counted=False, runs=True, **MADE),
    point("hqq & co W4A8", "hqq", 170_000, 91.0, counted=True, runs=False, **MADE),
    point("other W4A8", "other", 170_000, 95.0, counted=True, runs=False, **MADE),
    {"benchmark": "widths_resnet20", "kind": "absent", "candidate": "third W4A8", "reason": "it raised", **FACTS},
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "widths_resnet20.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in POINTS))
    (tmp_path / "README.md").write_text("<!-- table:widths_resnet20 -->\n<!-- /table:widths_resnet20 -->\n")
    return tmp_path


def tables(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "benchmarks" / "tables.py")
    places = ["--readme", folder / "README.md", "--results", folder / "results", "--plots", folder / "plots"]
    return subprocess.run(
        [sys.executable, script, *map(str, places), *more], capture_output=True, text=True, check=False
    )


def test_a_table_of_widths_shows_ours_first_then_peers_by_score_and_who_is_missing(results: Path) -> None:
    assert tables(results).returncode == 0
    rows = [line for line in (results / "README.md").read_text().splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:]] == [
        "float",
        "**Intact** W4A8",
        "other W4A8",
        "hqq & co W4A8",
    ]
    assert "0.190 | 12 | exact integers" in rows[3]
    assert "0.170¹" in rows[4]
    assert "third W4A8 is missing: it raised." in (results / "README.md").read_text()


def test_a_plot_holds_every_model_and_marks_what_lies_below_it(results: Path) -> None:
    assert tables(results).returncode == 0
    space = "{http://www.w3.org/2000/svg}"
    picture = ElementTree.parse(results / "plots" / "widths_resnet20.svg").getroot()  # noqa: S314 - our own file
    told = [title.text for title in picture.iter(f"{space}title")]
    assert told[1:] == [
        "sweep nearest W2: 12, 120,000 bytes",
        "hqq & co W4A8: 91, 170,000 bytes",
        "other W4A8: 95, 170,000 bytes",
        "intact W4A8: 96.5, 190,000 bytes",
    ]
    (below,) = [path for path in picture.iter(f"{space}path") if path.find(f"{space}title") is not None]
    assert below.findtext(f"{space}title") == told[1]


def test_a_plot_out_of_date_is_found(results: Path) -> None:
    assert tables(results).returncode == 0
    assert tables(results, "--check").returncode == 0
    (results / "plots" / "widths_resnet20.svg").write_text("old")
    done = tables(results, "--check")
    assert done.returncode == 1
    assert "widths_resnet20.svg" in done.stderr
