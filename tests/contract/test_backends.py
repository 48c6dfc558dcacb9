"""Every engine found in `intact/engine/backends` keeps the same contract; a new file is tested with no other edit."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integer_graphs import INPUT_SHAPE, grow, sample
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine import canary
from intact.engine.backend import Backend, EngineError, Options, Session
from intact.engine.backends import find, get
from intact.engine.conformance import make_vectors, self_test
from intact.errors import DataError, ModelError, UsageError
from intact.graph.program import Program

BACKENDS = [pytest.param(b, v, id=f"{n}-{v}") for n, b in find().items() for v in b.variants]
REFERENCE = get("reference")
ONE_THREAD = Options(threads=1)


@pytest.fixture
def session(request):
    """Loads a program on the engine under test."""
    backend, variant = request.param
    reason = backend.why_unavailable()
    if reason:
        pytest.skip(reason)
    return lambda program, options=ONE_THREAD: backend.load(program, options, variant)


every_engine = pytest.mark.parametrize("session", [pytest.param(p.values, id=p.id) for p in BACKENDS], indirect=True)


def defined(program: Program, **inputs: np.ndarray) -> np.ndarray:
    return REFERENCE.load(program, Options(), "default").run(inputs)["y"]


def test_the_engines_are_found_by_listing_the_folder():
    folder = Path(sys.modules["intact.engine.backends"].__file__).parent
    assert list(find()) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert {"onnxruntime", "openvino", "reference"} <= set(find())
    with pytest.raises(UsageError, match="no engine 'nothing'"):
        get("nothing")


def test_finding_them_imports_no_engine():
    code = "import sys; from intact.engine.backends import find; find(); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for library in ("onnxruntime", "openvino", "torch"):
        assert f"'{library}'" not in modules


@pytest.mark.parametrize("name", find())
def test_the_record(name):
    backend = get(name)
    assert isinstance(backend, Backend) and backend.name == name
    assert backend.variants and len(set(backend.variants)) == len(backend.variants)
    assert sorted(backend.ranked(grow(0).program())) == sorted(backend.variants)
    assert backend.why_unavailable() is None or isinstance(backend.why_unavailable(), str)
    with pytest.raises(FrozenInstanceError):
        backend.name = "other"


@every_engine
def test_a_session_says_what_it_takes_and_gives(session):
    loaded = session(grow(0).program())
    assert isinstance(loaded, Session)
    assert [str(spec) for spec in loaded.inputs] == ["x: float32[n, 3, 10, 10]"]
    assert [spec.name for spec in loaded.outputs] == ["y"]
    outputs = loaded.run({"x": sample(0)})
    assert list(outputs) == ["y"]
    assert outputs["y"].dtype == np.float32 and outputs["y"].shape == (3, 5)


@every_engine
@given(seed=st.integers(0, 2**20))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_exact_graphs_are_computed_bit_for_bit(session, seed):
    program, x = grow(seed).program(), sample(seed)
    found = session(program).run({"x": x})["y"]
    np.testing.assert_array_equal(found.view(np.uint32), defined(program, x=x).view(np.uint32))


@every_engine
def test_the_canary_is_computed_bit_for_bit_on_this_host(session):
    found = session(canary.canary()).run({"x": canary.codes()})["y"]
    np.testing.assert_array_equal(found, defined(canary.canary(), x=canary.codes()))


@every_engine
@pytest.mark.parametrize("zero_point", [0, 7, 114, 128, 255])
def test_inputs_next_to_ties_are_quantized_as_defined(session, zero_point):
    random = np.random.default_rng(zero_point)
    for scale in (0.0187, 0.3, 1 / 255, 0.0078125):
        graph = Graph()
        value = graph.quantized_input(graph.input("x", ["n", 600]), scale, -6, zero_point)
        graph.output(graph.node("MatMul", [value, graph.weight(np.eye(600), [0] * 600, 1)]))
        ties = ((random.integers(-260, 260, 200) + 0.5) * np.float32(scale)).astype(np.float32)
        around = [ties, np.nextafter(ties, np.float32(1e9)), np.nextafter(ties, np.float32(-1e9))]
        x = np.concatenate(around)[None]
        np.testing.assert_array_equal(session(graph.program()).run({"x": x})["y"], defined(graph.program(), x=x))


@every_engine
def test_ties_of_residual_sums_are_rounded_as_defined(session):
    """Every second sum of codes one place apart is a tie."""
    random = np.random.default_rng(0)
    graph = Graph()
    x = graph.dequantize(graph.input("x", ["n", 4, 8, 8], TensorProto.UINT8), 2.0**-4)
    w = random.integers(-127, 128, (4, 4, 3, 3))
    left = graph.requantize(graph.node("Conv", [x, graph.weight(w, [-8] * 4)], pads=[1] * 4), -4, 128)
    total = graph.requantize(graph.node("Relu", [graph.node("Add", [left, x])]), -3)
    w = random.integers(-127, 128, (4, 4, 1, 1))
    graph.output(graph.node("Conv", [total, graph.weight(w, [-8] * 4)]))
    codes = random.integers(0, 256, (5, 4, 8, 8)).astype(np.uint8)
    np.testing.assert_array_equal(session(graph.program()).run({"x": codes})["y"], defined(graph.program(), x=codes))


@every_engine
def test_a_layout_operator_before_a_product_does_not_round_activations(session):
    """onnxruntime turns this into MatMulNBits, which by default quantizes its input once more."""
    random = np.random.default_rng(1)
    graph = Graph()
    value = graph.quantized_input(graph.input("x", ["n", 4, 24]), 0.02, -6, 128)
    value = graph.node("Flatten", [value])
    w, exponents = random.integers(-40, 41, (96, 10)), random.integers(-9, -6, 10)
    graph.output(graph.node("Gemm", [value, graph.weight(w, exponents, 1), graph.bias(np.arange(10), exponents - 6)]))
    x = random.normal(size=(6, 4, 24)).astype(np.float32)
    np.testing.assert_array_equal(session(graph.program()).run({"x": x})["y"], defined(graph.program(), x=x))


@every_engine
@pytest.mark.parametrize("threads", [1, 2])
def test_vectors_pass_with_any_number_of_threads(session, threads):
    program = grow(11).program()
    self_test(session(program, Options(threads=threads)), make_vectors(program, "exact"))


@every_engine
def test_a_row_does_not_depend_on_its_batch(session):
    for seed in range(3):
        loaded, x = session(grow(seed).program()), sample(seed, 6)
        x[3] *= 100  # an outlier beside the others
        together = loaded.run({"x": x})["y"]
        alone = np.concatenate([loaded.run({"x": x[i : i + 1]})["y"] for i in range(6)])
        np.testing.assert_array_equal(together, alone)


@every_engine
def test_one_session_serves_several_threads(session):
    loaded = session(grow(12).program())
    batches = [sample(seed, 4) for seed in range(12)]
    wanted = [loaded.run({"x": x})["y"] for x in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: loaded.run({"x": x})["y"], batches))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@every_engine
def test_results_stay_as_they_are_when_the_session_runs_again(session):
    loaded = session(grow(13).program())
    first = loaded.run({"x": sample(1)})["y"]
    kept = first.copy()
    loaded.run({"x": sample(2)})
    np.testing.assert_array_equal(first, kept)


@every_engine
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_refused(session, value):
    x = sample(0)
    x[1, 2, 3, 4] = value
    with pytest.raises(DataError, match="NaN or an infinity"):
        session(grow(0).program()).run({"x": x})


@every_engine
@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"y": np.zeros((1, *INPUT_SHAPE), np.float32)},
        {"x": np.zeros((1, *INPUT_SHAPE), np.float64)},
        {"x": np.zeros((1, 3, 10, 11), np.float32)},
        {"x": np.zeros((0, *INPUT_SHAPE), np.float32)},
    ],
    ids=["missing", "unknown", "type", "shape", "empty"],
)
def test_inputs_that_do_not_fit_are_refused(session, inputs):
    with pytest.raises(DataError):
        session(grow(0).program()).run(inputs)


@every_engine
def test_programs_that_are_incomplete_or_no_program_are_refused(session, tmp_path, monkeypatch):
    whole = grow(0).program()
    missing = next(iter(whole.tensors))
    monkeypatch.chdir(tmp_path)
    (tmp_path / missing).write_bytes(whole.tensors[missing].tobytes())  # must not be found by its name
    rest = {name: tensor for name, tensor in whole.tensors.items() if name != missing}
    with pytest.raises(ModelError, match=f"'{missing}' has no tensor"):
        session(Program(model=whole.model, tensors=rest))
    with pytest.raises(ModelError, match="no ONNX model"):
        session(Program(model=b"\xff" * 50, tensors={}))


@every_engine
def test_a_model_no_engine_knows_is_an_error_of_ours(session):
    graph = Graph()
    graph.output(graph.node("Neg", [graph.input("x", ["n", 3])]))
    model = graph.model()
    model.graph.node[0].op_type = "Twist"
    with pytest.raises((EngineError, ModelError)):
        session(Program.from_proto(model))


@every_engine
def test_output_zeros_have_no_sign(session):
    graph = Graph()
    value = graph.quantized_input(graph.input("x", ["n", 8]), 0.5, -1, 128)
    graph.output(graph.node("MatMul", [value, graph.weight(-np.eye(8), [0] * 8, 1)]))
    found = session(graph.program()).run({"x": np.zeros((2, 8), np.float32)})["y"]
    assert not np.signbit(found).any()


@every_engine
def test_nothing_is_printed(session, capfd):
    session(grow(0).program()).run({"x": sample(0)})
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_onnxruntime_reads_weights_where_they_lie():
    """A table changed after loading changes what comes out: it was never copied."""
    table = np.arange(400, dtype=np.float32).reshape(100, 4)
    graph = Graph()
    graph.output(graph.node("Gather", [graph.constant(table), graph.input("x", ["n"], TensorProto.INT64)]))
    program = graph.program()
    held = {name: tensor.copy() for name, tensor in program.tensors.items()}
    loaded = get("onnxruntime").load(replace(program, tensors=held), ONE_THREAD, "default")
    next(iter(held.values()))[7] = -1
    assert (loaded.run({"x": np.array([7])})["y"] == -1).all()


def test_onnxruntime_expands_weights_that_meet_float():
    """Its kernels for narrow weights and float activations are slower than those for float weights."""
    graph, with_codes = Graph(), grow(0).program()
    codes = np.random.default_rng(1).integers(-7, 8, (8, 4)).astype(np.int8)
    weight = graph.node("DequantizeLinear", [graph.constant(codes), graph.constant(np.ones(4, np.float32))], axis=1)
    graph.output(graph.node("MatMul", [graph.input("x", ["n", 8]), weight]))
    assert get("onnxruntime").ranked(graph.program()) == ("float", "default", "wide")
    assert get("onnxruntime").ranked(with_codes) == ("default", "wide", "float")
    only_float = Graph()
    only_float.output(only_float.node("Relu", [only_float.input("x", ["n", 8])]))
    assert get("onnxruntime").ranked(only_float.program()) == ("default", "wide", "float")
