"""Vectors: made once, small, strict when read, and failing whatever engine computes something else."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import grow
from onnx import TensorProto
from qdq_graph import Graph

from intact.engine.backend import Options, Session
from intact.engine.backends import find, get
from intact.engine.conformance import inputs_of, make_vectors, self_test
from intact.engine.noise import CAP, FLOOR, Bounds
from intact.engine.vectors import Vectors, digest, sample
from intact.errors import CheckFailed, IntegrityError, ModelError, UsageError
from intact.graph.program import Program

PROGRAM = grow(7).program()


def soft() -> Program:
    graph = Graph()
    value = graph.dequantize(graph.quantize(graph.input("x", ["n", 8]), 0.02, 128), 0.02, 128)
    value = graph.node("MatMul", [value, graph.weight(np.eye(8) * 9, [-4] * 8, 1)])
    graph.output(graph.node("Softmax", [value]))
    return graph.program()


def session(program: Program = PROGRAM) -> Session:
    return get("reference").load(program, Options(), "default")


def altered(base: Session, change) -> Session:
    """A session whose outputs are changed on the way."""
    return replace(base, engine="altered", execute=lambda x: {k: change(v) for k, v in base.execute(x).items()})


def test_the_definition_passes_its_own_vectors():
    for program, profile in ((PROGRAM, "exact"), (soft(), "tolerant")):
        self_test(session(program), make_vectors(program, profile))


def test_vectors_are_reproducible_and_small():
    first, again = make_vectors(PROGRAM, "exact", 5), make_vectors(PROGRAM, "exact", 5)
    assert first == again
    assert first.to_json() != make_vectors(PROGRAM, "exact", 6).to_json()
    assert len(json.dumps(first.to_json())) < 1000


@pytest.mark.parametrize("profile", ["exact", "tolerant"])
def test_vectors_survive_json(profile):
    program = PROGRAM if profile == "exact" else soft()
    vectors = make_vectors(program, profile)
    read = Vectors.from_json(json.loads(json.dumps(vectors.to_json())))
    assert read.to_json() == vectors.to_json()
    self_test(session(program), read)


def test_one_unit_in_the_last_place_fails_the_exact_profile():
    vectors = make_vectors(PROGRAM, "exact")

    def nudge(y):
        y = y.copy()
        y.flat[-1] = np.nextafter(y.flat[-1], np.float32(np.inf))
        return y

    with pytest.raises(CheckFailed, match=r"engine altered does not conform: output 'y' of vector 0 \(uniform\)"):
        self_test(altered(session(), nudge), vectors)


@pytest.mark.parametrize("change", [lambda y: y.astype(np.float64), lambda y: y[:, :-1], lambda y: y[:, ::-1]])
def test_another_type_shape_or_order_fails(change):
    with pytest.raises(CheckFailed, match="differs"):
        self_test(altered(session(), change), make_vectors(PROGRAM, "exact"))


def test_negative_zero_counts_as_zero():
    graph = Graph()
    graph.output(graph.node("Relu", [graph.dequantize(graph.input("x", ["n", 4], TensorProto.UINT8), 1.0, 255)]))
    program = graph.program()
    self_test(altered(session(program), lambda y: -y), make_vectors(program, "exact"))


def test_the_tolerant_bound_is_a_relative_distance():
    vectors = make_vectors(soft(), "tolerant", bounds=Bounds(euclidean=0.01, element=0.5))
    self_test(altered(session(soft()), lambda y: y * np.float32(1.0099)), vectors)
    with pytest.raises(CheckFailed, match=r"is 0\.0101 away from the definition, the bound is 0\.01"):
        self_test(altered(session(soft()), lambda y: y * np.float32(1.0101)), vectors)
    with pytest.raises(CheckFailed, match="nan away"):
        self_test(altered(session(soft()), lambda y: y * np.float32(np.nan)), vectors)
    with pytest.raises(CheckFailed, match="has shape"):
        self_test(altered(session(soft()), lambda y: y[:, :1]), vectors)


def test_one_wrong_element_fails_the_tolerant_profile():
    vectors = make_vectors(soft(), "tolerant", bounds=Bounds(euclidean=0.2, element=0.1))

    def nudge(y):
        y = y.copy()
        y.flat[0] += np.float32(0.11) * y.max()
        return y

    with pytest.raises(CheckFailed, match=r"has an element 0\.11 away from the definition, the bound is 0\.1"):
        self_test(altered(session(soft()), nudge), vectors)


def test_tolerant_bounds_follow_the_noise_of_the_model():
    graph = Graph()
    graph.output(graph.node("Relu", [graph.input("x", ["n", 4])]))
    calm = make_vectors(graph.program(), "tolerant")
    assert (calm.bound, calm.element_bound) == (FLOOR.euclidean, FLOOR.element)
    graph = Graph()
    wild = graph.node("Sin", [graph.node("Mul", [graph.input("x", ["n", 4]), graph.constant(np.float32(1e5))])])
    graph.output(wild)
    vectors = make_vectors(graph.program(), "tolerant")
    assert (vectors.bound, vectors.element_bound) == (CAP.euclidean, CAP.element)


@pytest.mark.parametrize("engine", [name for name, backend in find().items() if not backend.why_unavailable()])
def test_a_wrong_last_column_of_an_average_is_caught(engine):
    """Rounding the size up, OpenVINO 2026.4 divides the last windows by elements beyond the padding too."""
    graph = Graph()
    value = graph.dequantize(graph.quantize(graph.input("x", ["n", 3, 12, 12]), 0.01, 3), 0.01, 3)
    settings = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1}
    graph.output(graph.node("AveragePool", [value], **settings))
    program = graph.program()
    vectors = make_vectors(program, "tolerant", ranges={"x": (2.0, 2.5)})
    for variant in get(engine).variants:
        loaded = get(engine).load(program, Options(threads=1), variant)
        made = inputs_of(loaded, vectors)
        found, wanted = loaded.run(made)["y"], session(program).run(made)["y"]
        if np.allclose(found, wanted, rtol=1e-3):
            self_test(loaded, vectors)
        else:
            with pytest.raises(CheckFailed, match="away from the definition"):
                self_test(loaded, vectors)


def test_every_case_names_every_output():
    vectors = make_vectors(PROGRAM, "exact")
    first = vectors.cases[0]
    for outputs in ({}, {"z": first.outputs["y"]}, {**first.outputs, "z": first.outputs["y"]}):
        short = replace(vectors, cases=(*vectors.cases[1:], replace(first, outputs=outputs)))
        with pytest.raises(IntegrityError, match=r"name outputs .*, the model gives \['y'\]"):
            self_test(session(), short)


def test_inputs_without_end_are_refused():
    vectors = make_vectors(PROGRAM, "exact")
    huge = replace(vectors, cases=(replace(vectors.cases[0], sizes={"n": 1 << 27}),))
    with pytest.raises(ModelError, match=r"inputs have \d+ elements, more than 67108864"):
        self_test(session(), huge)


def test_a_missing_output_fails():
    broken = replace(session(), execute=lambda x: {})
    with pytest.raises(CheckFailed, match=r"output 'y' of vector 0 .* is missing"):
        self_test(broken, make_vectors(PROGRAM, "exact"))


def test_what_is_not_exact_gets_no_exact_vectors():
    with pytest.raises(ModelError, match=r"not in the exact profile: .*no power of two.*, and 2 more"):
        make_vectors(soft(), "exact")
    graph = Graph()
    value = graph.dequantize(graph.input("x", ["n", 4], TensorProto.UINT8), 1.0)
    graph.output(graph.quantize(value, 2.0, 127), kind=TensorProto.UINT8)
    with pytest.raises(ModelError, match=r"not in the exact profile: .*odd"):
        make_vectors(graph.program(), "exact")


def test_outputs_that_are_not_finite_make_no_vectors():
    graph = Graph()
    graph.output(graph.node("Log", [graph.input("x", ["n", 4])]))
    with pytest.raises(ModelError, match="not finite on synthetic inputs"):
        make_vectors(graph.program(), "tolerant")
    self_test(session(graph.program()), make_vectors(graph.program(), "tolerant", ranges={"x": (5.0, 6.0)}))


def test_given_ranges_and_sizes_are_used():
    vectors = make_vectors(PROGRAM, "exact", ranges={"x": (-0.5, 0.5)}, sizes={"n": 4})
    found = inputs_of(session(), vectors)["x"]
    assert found.shape[0] == 4 and np.abs(found).max() <= 0.5
    assert inputs_of(session(), vectors, {"n": 9})["x"].shape[0] == 9
    assert vectors.spans["x"].step is not None


def test_ranges_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="'z', which is no input"):
        make_vectors(PROGRAM, "exact", ranges={"z": (0, 1)})
    with pytest.raises(UsageError, match="range is empty"):
        make_vectors(PROGRAM, "exact", ranges={"x": (1, 1)})


def test_vectors_of_another_model_do_not_run():
    with pytest.raises(ModelError, match="no span for input 'x'"):
        self_test(session(), replace(make_vectors(PROGRAM, "exact"), spans={}))


def test_the_digest_covers_type_shape_and_elements():
    y = np.arange(6, dtype=np.float32).reshape(2, 3)
    others = [y.reshape(3, 2), y.astype(np.int32), y + 1, y[:, ::-1]]
    assert len({digest(value) for value in (y, *others)}) == 5
    assert digest(np.asfortranarray(y)) == digest(y) == digest(y.astype(">f4"))


def test_a_sample_is_bounded_and_spread():
    y = np.arange(100_000, dtype=np.float32)
    kept = sample(y)
    assert len(kept.values) <= 2048 and kept.values[-1] > 99_000


def _records(record, path=()):
    """Every place in a JSON value."""
    yield path
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        yield from _records(value, (*path, key))


def _at(record, path):
    for key in path:
        record = record[key]
    return record


@pytest.mark.parametrize("profile", ["exact", "tolerant"])
def test_reading_is_strict(profile):
    whole = make_vectors(PROGRAM if profile == "exact" else soft(), profile).to_json()
    tried = 0
    for path in _records(whole):
        for wrong in (None, True, "x", [], {}, -1, float("nan"), "delete", "add"):
            broken = copy.deepcopy(whole)
            place = _at(broken, path[:-1]) if path else broken
            if wrong == "delete" and path:
                del place[path[-1]]
            elif wrong == "add" and isinstance(_at(broken, path), dict):
                if path and path[-1] in ("spans", "sizes", "outputs"):
                    continue  # these hold names
                _at(broken, path)["more"] = 1
            elif path and wrong not in ("delete", "add") and not _same_kind(_at(broken, path), wrong):
                place[path[-1]] = wrong
            else:
                continue
            if _still_valid(path, wrong):
                continue
            tried += 1
            with pytest.raises(IntegrityError, match="conformance vectors cannot be read"):
                Vectors.from_json(broken)
    assert tried > 100


def _same_kind(value, wrong) -> bool:
    return isinstance(value, (int, float)) and isinstance(wrong, (int, float)) and not isinstance(wrong, bool)


def _still_valid(path, wrong) -> bool:
    """Changes that leave well-formed vectors, of another model."""
    names = path[:-1] and path[-2] in ("spans", "sizes", "cases", "shape")
    return (
        (wrong == "delete" and bool(names))
        or (path[-1:] == ("step",) and wrong is None)
        or (path[-1:] in (("spans",), ("sizes",)) and wrong == {})
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 1),
        (("profile",), "sloppy"),
        (("bound",), float("inf")),
        (("bound",), -0.5),
        (("bound",), 0.1),
        (("element_bound",), 0.1),
        (("cases",), []),
        (("cases", 0, "outputs"), {}),
        (("cases", 0, "outputs"), {"z": "a" * 64}),
        (("cases", 0, "kind"), "noise"),
        (("cases", 0, "sizes", "n"), 0),
        (("cases", 0, "sizes", "n"), 1 << 16),
        (("cases", 0, "outputs", "y"), "A" * 64),
        (("cases", 0, "outputs", "y"), "a" * 63),
        (("spans", "x", "step"), 0),
        (("spans", "x", "step"), 1e-30),
        (("spans", "x", "low"), 1e9),
    ],
)
def test_values_out_of_range_are_refused(path, value):
    record = make_vectors(PROGRAM, "exact").to_json()
    _at(record, path[:-1])[path[-1]] = value
    with pytest.raises(IntegrityError, match="conformance vectors cannot be read"):
        Vectors.from_json(record)


def test_more_than_a_self_test_needs_is_refused():
    exact, tolerant = make_vectors(PROGRAM, "exact").to_json(), make_vectors(soft(), "tolerant").to_json()
    many = {**exact, "cases": exact["cases"] * 17}
    wide = copy.deepcopy(exact)
    wide["cases"] = [{**case, "outputs": {str(i): "a" * 64 for i in range(1025)}} for case in wide["cases"]]
    long = copy.deepcopy(tolerant)
    text = base64.b64encode(bytes(4 * 2049)).decode()
    long["cases"][0]["outputs"]["y"] = {"shape": [2049], "stride": 1, "values": text}
    for record in (many, wide, long, {**tolerant, "bound": 1.01}, {**tolerant, "element_bound": 2}):
        with pytest.raises(IntegrityError, match="conformance vectors cannot be read"):
            Vectors.from_json(record)


@pytest.mark.parametrize("value", [("stride", 0), ("stride", 3), ("shape", [3]), ("values", "?"), ("values", "AAAA")])
def test_samples_that_do_not_fit_are_refused(value):
    record = make_vectors(soft(), "tolerant").to_json()
    record["cases"][0]["outputs"]["y"][value[0]] = value[1]
    with pytest.raises(IntegrityError, match="conformance vectors cannot be read"):
        Vectors.from_json(record)
