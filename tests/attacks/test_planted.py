"""Someone puts files where a model is opened, and wants them run or read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from intact.engine import trial
from intact.engine.backend import Options
from intact.engine.backends import get
from intact.engine.conformance import make_vectors
from intact.graph.program import Program

PLANTED = "import pathlib; pathlib.Path(__file__).with_name('ran').touch(); raise SystemExit('planted')\n"


def relu() -> Program:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
    return Program.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


@pytest.mark.parametrize("entry", ["", ".", "folder"])
def test_a_module_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    program = relu()
    vectors = make_vectors(program, "tolerant")
    for name in ("json", "site", "sitecustomize", "usercustomize", "numpy", "onnx", "intact"):
        (tmp_path / f"{name}.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path) if entry == "folder" else entry, *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trial.survive(get("reference"), "default", program, vectors, Options(threads=1))
    assert not (tmp_path / "ran").exists()
