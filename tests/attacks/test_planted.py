"""Someone puts files where a model is opened, and wants them run or read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from intact import engine
from intact.engine import trial
from intact.engine.backend import Options
from intact.engine.backends import get
from intact.engine.conformance import make_vectors
from intact.engine.vectors import Case, Sample, Vectors
from intact.errors import IntegrityError, ModelError
from intact.graph.program import Program

PLANTED = "import pathlib; pathlib.Path(__file__).with_name('ran').touch(); raise SystemExit('planted')\n"


MODULES = ("json", "site", "sitecustomize", "usercustomize", "numpy", "onnx", "intact", "multiprocessing", "pickle")
SECRET = b"\0\0\0\0secret"


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
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path) if entry == "folder" else entry, *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trial.survive(get("reference"), "default", program, vectors, Options(threads=1))
    assert not (tmp_path / "ran").exists()


def test_a_module_in_the_working_directory_is_not_run_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = relu()
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    session = get("reference").load(program, Options(), "default")
    x = np.float32([[-1, 0, 1]])
    with engine.over_processes(program, session, 1, Options()) as spread:
        assert spread.run({"x": x})["y"].tolist() == [[0, 0, 1]]
    assert not (tmp_path / "ran").exists()
    assert "PYTHONSAFEPATH" not in os.environ


def elsewhere(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.UINT8, dims=[6], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "4"), ("length", "6")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def reader(kind: str, location: str) -> onnx.ModelProto:
    """A model whose output is what a file holds."""
    value = helper.make_tensor_value_info("y", TensorProto.UINT8, [6])
    held = elsewhere(location)
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["z"])], "branch", [], [value], [held])
    del branch.output[:]
    branch.output.append(helper.make_tensor_value_info("z", TensorProto.UINT8, [6]))
    nodes = {
        "initializer": helper.make_node("Identity", ["w"], ["y"]),
        "constant": helper.make_node("Constant", [], ["y"], value=held),
        "branch": helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    }
    constants = [numpy_helper.from_array(np.array(True), "c")] + ([held] if kind == "initializer" else [])
    graph = helper.make_graph([nodes[kind]], "graph", [], [value], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def self_test(outputs: list[str]) -> Vectors:
    """One that asks as little as it can."""
    sample = Sample(shape=(6,), stride=1, values=np.zeros(6, np.float32))
    cases = (Case(kind="uniform", sizes={}, outputs=dict.fromkeys(outputs, sample)),)
    return Vectors(profile="tolerant", seed=0, spans={}, cases=cases, bound=1.0, element_bound=1.0)


@pytest.mark.parametrize("engines", [None, ["onnxruntime"], ["reference"]])
@pytest.mark.parametrize("kind", ["initializer", "constant", "branch"])
@pytest.mark.parametrize("location", ["secret.bin", "./secret.bin", "absolute"])
def test_a_graph_that_refers_to_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, location: str, engines: list[str] | None
) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    model = reader(kind, str(tmp_path / "secret.bin") if location == "absolute" else location)
    program = Program(model=model.SerializeToString(), tensors={"w": np.zeros(6, np.uint8)})
    with pytest.raises(ModelError, match=r"outside the artifact|another file|graph of its own"):
        engine.load(program, self_test(["y"]), engines=engines)


def test_a_self_test_that_asks_nothing_is_refused() -> None:
    with pytest.raises(IntegrityError, match="a case of 0 outputs"):
        Vectors.from_json(self_test([]).to_json())
    for named in ([], ["z"], ["y", "z"]):
        with pytest.raises(IntegrityError, match=r"name outputs .*, the model gives \['y'\]"):
            engine.load(relu(), self_test(named))
