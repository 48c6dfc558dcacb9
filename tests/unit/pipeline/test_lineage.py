"""Where the integers came from."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

import intact
from intact.compress.check import compare
from intact.compress.recipe import Recipe
from intact.errors import IntegrityError, UsageError
from intact.graph.program import Program
from intact.pipeline import lineage
from intact.pipeline.lineage import digest, float_digest, parse, statement, tool_versions, with_calibration
from intact.wire import encode
from support.nets import mlp

PROGRAM = Program(model=b"graph", tensors={"a": np.arange(4, dtype=np.int8), "b": np.ones((2, 2), np.float32)})
VERDICT = compare(np.ones(50), np.ones(50), 0.01)


def made(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "name": "m",
        "program": PROGRAM,
        "source_sha256": "0" * 64,
        "recipe": Recipe(seed=3).to_json(),
        "accuracy": asdict(VERDICT),
    }
    return statement(**{**arguments, **changes})


def test_the_digest_is_of_graph_names_types_shapes_and_values() -> None:
    wanted = digest(PROGRAM)
    assert wanted == digest(Program(model=b"graph", tensors=dict(reversed(PROGRAM.tensors.items()))))
    others = [
        Program(model=b"graph!", tensors=PROGRAM.tensors),
        Program(model=b"graph", tensors={"a": PROGRAM.tensors["a"]}),
        Program(model=b"graph", tensors={"c": PROGRAM.tensors["a"], "b": PROGRAM.tensors["b"]}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"].astype(np.uint8)}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"].reshape(2, 2)}),
        Program(model=b"graph", tensors={**PROGRAM.tensors, "a": PROGRAM.tensors["a"] + np.int8(1)}),
    ]
    assert len({wanted, *(digest(other) for other in others)}) == 7


def test_the_digest_of_a_float_model_passes_over_remarks_and_nothing_else() -> None:
    proto = onnx.load_from_string(mlp())
    wanted = float_digest(Program.from_proto(proto))
    remarked = copy.deepcopy(proto)
    remarked.producer_version, remarked.doc_string = "9.9", "somewhere"
    remarked.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File 'x.py', line 3")
    remarked.graph.node[0].doc_string = remarked.graph.input[0].doc_string = "a remark"
    assert float_digest(Program.from_proto(remarked)) == wanted
    other = copy.deepcopy(proto)
    other.graph.node[0].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, f=2.0)
    assert float_digest(Program.from_proto(other)) != wanted


def test_the_statement_is_the_same_each_time() -> None:
    assert encode(made()) == encode(made())
    assert made()["subject"] == [{"name": "m", "digest": {"intactProgram1": digest(PROGRAM)}}]
    assert "intact" in tool_versions()


@pytest.mark.parametrize("value", [made(), made(accuracy=None), with_calibration(made(), "ab" * 32)])
def test_others_read_it_as_in_toto_with_slsa_provenance(value: dict[str, Any]) -> None:
    parsed = json_format.ParseDict(value, statement_pb2.Statement())  # unknown fields are refused
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(value["predicate"], provenance_pb2.Provenance())
    definition, details = predicate.build_definition, predicate.run_details
    assert definition.build_type and definition.external_parameters and details.builder.id
    for described in (*definition.resolved_dependencies, *details.byproducts):
        assert described.name and (described.uri or described.digest)
    tools = [each for each in definition.resolved_dependencies if each.uri]
    assert {each.name for each in tools} == set(tool_versions())
    assert all(each.uri.startswith(f"pkg:pypi/{each.name}@") and "+" not in each.uri for each in tools)


def test_what_is_read_is_what_was_written() -> None:
    found = parse(json.loads(encode(with_calibration(made(), "ab" * 32))))
    assert (found.name, found.program, found.float_model) == ("m", digest(PROGRAM), "0" * 64)
    assert (found.calibration, found.by_recipe, found.recipe) == ("ab" * 32, True, Recipe(seed=3))
    assert found.versions == tool_versions() and found.accuracy is not None
    assert found.accuracy["outcome"] == VERDICT.outcome
    bare = parse(made(accuracy=None, by_recipe=False))
    assert (bare.calibration, bare.by_recipe, bare.accuracy) == (None, False, None)


def test_whatever_is_missing_or_of_another_type_is_refused() -> None:
    refused = 0
    for path in _paths(with_calibration(made(), "ab" * 32)):
        for change in (_removed, _replaced):
            value = copy.deepcopy(with_calibration(made(), "ab" * 32))
            change(value, path)
            try:
                parse(value)
            except (IntegrityError, UsageError):
                refused += 1
    assert refused > 100  # the rest are versions, remarks and defaults of the recipe


def test_a_statement_of_another_build_is_refused_as_such() -> None:
    value = made()
    value["predicate"]["buildDefinition"]["buildType"] = "urn:other:1"
    with pytest.raises(UsageError, match="build type 'urn:other:1', wanted urn:intact:build:1"):
        parse(value)
    for broken in ({}, {"predicate": 3}, {"predicate": {"buildDefinition": [], "runDetails": 0}}):
        with pytest.raises(IntegrityError, match="not as its build type has it"):
            parse(broken)


@pytest.mark.parametrize("salted", ["", "ab", "é" * 64, "AB" * 32, "ab" * 32 + "\n", "zz" * 32])
def test_a_salted_digest_that_is_none_is_refused(salted: str) -> None:
    with pytest.raises(IntegrityError, match="not as its build type has it"):
        parse(with_calibration(made(), salted))


def test_the_public_statement_of_a_build_names_no_data_before_it_is_written() -> None:
    x = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    built = intact.build(intact.Spec(model=mlp(), calibration=x), engines=["onnxruntime"])
    assert parse(built.lineage).calibration is None
    assert built.data_digest is not None and built.data_digest.value.hex() not in repr(built)
    assert lineage.digest(built.program) == parse(built.lineage).program


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inside for found in ((*path, key), *_paths(item, (*path, key)))]


def _parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def _removed(value: Any, path: tuple[Any, ...]) -> None:
    del _parent(value, path)[path[-1]]


def _replaced(value: Any, path: tuple[Any, ...]) -> None:
    _parent(value, path)[path[-1]] = 3.5
