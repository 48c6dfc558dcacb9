"""`intact scan`, and the same allow-list before a build reads a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import scan as scanning
from intact.errors import DataError, ModelError, UsageError
from intact.pipeline import read_npz, read_source
from support.malice import SAMPLES, Harmful, array, checkpoint, foreign_onnx, outside_onnx, pickled, zipped
from support.nets import data, mlp

Command = Callable[..., Any]
X = data(1, 32, 8)


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_clean_folder_and_a_refused_file(command: Command, tmp_path: Path) -> None:
    written(tmp_path, "m.onnx", mlp())
    written(tmp_path, "README.md", b"# A model\n")
    seen = command("scan", tmp_path)
    assert seen.code == 0 and seen.out == "2 files, 0 refused; clean: 1 ONNX, 1 text\n"
    path = written(tmp_path, "weights.npz", pickled())
    seen = command("scan", tmp_path)
    assert seen.code == 1 and seen.out.splitlines()[0].startswith(f"refused: {path}: a pickle: reading it calls ")
    told = command("scan", path, "--json")
    assert told.code == 1 and told.json["clean"] is False
    assert told.json["files"][0]["findings"][0]["kind"] == "pickle"


def test_what_is_not_there_and_strange_names(command: Command, tmp_path: Path) -> None:
    seen = command("scan", tmp_path / "none")
    assert seen.code == 2 and "there is nothing at" in seen.err
    written(tmp_path, "a\x1b[2Jb", pickled())
    assert "\x1b" not in command("scan", tmp_path).out


@pytest.mark.parametrize("case", SAMPLES)
def test_no_sample_is_built_from_whatever_it_is_called(case: str, tmp_path: Path) -> None:
    path = written(tmp_path, "model.onnx", SAMPLES[case][0]())
    with pytest.raises(ModelError) as refused:
        intact.build(intact.Spec(model=path, calibration=X))
    assert refused.value.hint
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_a_refusal_says_what_was_found(tmp_path: Path) -> None:
    for content, told in (
        (pickled(), "is not read: a pickle: reading it calls posix.system"),
        (checkpoint(), "data.pkl: a pickle"),
        (foreign_onnx(), "operator 'PyOp' comes from the domain 'ai.onnx.contrib', which was not named"),
        (outside_onnx(), "refers to '../../etc/passwd', outside the model's folder"),
        (b'{"a": 1}', "is JSON, not an ONNX model"),
    ):
        with pytest.raises(ModelError, match="model.onnx") as refused:
            intact.build(intact.Spec(model=written(tmp_path, "model.onnx", content), calibration=X))
        assert told in refused.value.message


def test_a_source_is_what_it_holds_and_not_what_it_is_called(tmp_path: Path) -> None:
    assert read_source(str(written(tmp_path, "model.bin", mlp()))).model == tmp_path / "model.bin"
    with pytest.raises(ModelError, match="a pickle: reading it calls"):
        read_source(str(written(tmp_path, "model.pt", checkpoint())))
    with pytest.raises(UsageError, match="neither x.onnx nor file.py:name"):
        read_source(str(written(tmp_path, "spec.py", b"x = 1\n")))


def test_data_that_carry_code_are_refused_and_said_to(tmp_path: Path) -> None:
    objects = array(np.array([Harmful()], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz' is not an .npz file of plain arrays: a\.npy is an array of Python"):
        read_npz(written(tmp_path, "x.npz", zipped({"a.npy": objects})))
    with pytest.raises(DataError, match="plain arrays: a pickle: reading it calls"):
        read_npz(written(tmp_path, "x.npz", pickled()))


# scanners of others


def fake(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}\n")
    path.chmod(0o755)
    return path


def test_fickling_is_asked_about_pickles(command: Command, tmp_path: Path) -> None:
    path = written(tmp_path, "a.pkl", pickled())
    seen = command("scan", path, "--with", "fickling", "--json")
    assert seen.code == 1
    by = [finding for finding in seen.json["files"][0]["findings"] if finding["found_by"] == "fickling"]
    assert any("system" in finding["told"] for finding in by)


def test_what_another_finds_in_a_clean_file_refuses_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, files = tmp_path / "tools", tmp_path / "files"
    tools.mkdir()
    files.mkdir()
    written(files, "json.py.onnx", mlp())
    written(files, "json.py", b"raise SystemExit(9)\n")
    body = (
        "out = sys.argv[sys.argv.index('-o') + 1]\n"
        "told = f\"{os.path.basename(sys.argv[2])} {os.listdir('.')} {'PYTHONPATH' in os.environ}\"\n"
        "json.dump({'issues': [{'severity': 'HIGH', 'description': told}]}, open(out, 'w'))"
    )
    fake(tools, "modelscan", body)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(files))  # what lies beside the model is not imported
    found = scanning.ask(scanning.scan(files / "json.py.onnx"), ["modelscan", "modelscan"])
    (finding,) = found.files[0].findings
    assert (finding.found_by, finding.told) == ("modelscan", "HIGH: json.py.onnx [] False")


@pytest.mark.parametrize("body", ["sys.exit(2)", "open(sys.argv[-1], 'w').write('{}')", "os.kill(os.getpid(), 9)"])
def test_a_scanner_without_an_answer_is_an_error(
    body: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "modelscan", body)
    path = written(tmp_path, "m.onnx", mlp())
    seen = command("scan", path, "--with", "modelscan", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert seen.code == 2 and "modelscan gave no answer" in seen.err


def test_scanners_that_are_not_there(command: Command, tmp_path: Path) -> None:
    path = written(tmp_path, "m.onnx", mlp())
    seen = command("scan", path, "--with", "modelscan", PATH=str(tmp_path))
    assert seen.code == 2 and "modelscan is not installed" in seen.err
    seen = command("scan", path, "--with", "virus")
    assert seen.code == 2 and "there is no scanner 'virus'" in seen.err
