"""Where the integers came from, as an in-toto statement with SLSA provenance.

The statement is public. It holds no time and no name of a host, so that the same build gives the same statement; the
digest of the calibration data is added when the artifact is written (see `evidence`).
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import onnx

from intact import engine
from intact.compress import recipe as recipes
from intact.compress.recipe import Recipe
from intact.errors import IntegrityError, UsageError
from intact.graph import Program
from intact.wire import encode

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:intact:build:1"
BUILDER: Final = "urn:intact:builder:local"
"""Whoever ran the command. Nobody but the artifact's signer vouches for what the statement says."""
PROGRAM_DIGEST: Final = "intactProgram1"
"""Name of `digest` in a digest set: it is of a graph and its tensors, and no file has it."""
SALTED_DIGEST: Final = "hmacSha256"
FLOAT_MODEL: Final = "float model"
CALIBRATION: Final = "calibration data"
ACCURACY: Final = "accuracy"
HEX: Final = re.compile(r"[0-9a-f]{64}")
BY_RECIPE, DRAFTED = "recipe", "drafted"
TOOLS: Final = ("intact", "numpy", "onnx", "onnxruntime", "openvino", "torch", "onnxscript")


def digest(program: Program) -> str:
    """SHA-256 of a program, names and shapes included, in hex.

    It is SHA-256(SHA-256(graph) || for each tensor by name: name, dtype and shape, NUL after each, SHA-256(bytes)).
    """
    hasher = hashlib.sha256(hashlib.sha256(program.model).digest())
    for name in sorted(program.tensors):
        tensor = np.ascontiguousarray(program.tensors[name])
        hasher.update(f"{name}\0{tensor.dtype.name}\0{tensor.shape}\0".encode())
        hasher.update(hashlib.sha256(tensor.reshape(-1).view(np.uint8).data).digest())
    return hasher.hexdigest()


def float_digest(program: Program) -> str:
    """`digest` of a float model without remarks in it: exporters write paths and line numbers there."""
    proto = onnx.load_from_string(program.model)
    _strip(proto)
    return digest(Program(model=proto.SerializeToString(deterministic=True), tensors=program.tensors))


def _strip(message: Any) -> None:
    """Remove documentation, metadata and the producer's name, at any depth."""
    for name in ("doc_string", "metadata_props", "producer_name", "producer_version"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if field.is_repeated else (value,):
                _strip(part)


def statement(
    *,
    name: str,
    program: Program,
    source_sha256: str,
    recipe: Mapping[str, Any],
    accuracy: Mapping[str, Any] | None,
    by_recipe: bool = True,
) -> dict[str, Any]:
    """Return the statement; equal arguments give equal statements on equal hosts.

    Args:
        name: What the model is called.
        program: The integers.
        source_sha256: `float_digest` of the float model.
        recipe: How it was compressed, its seed included, as `Recipe.to_json` gives it.
        accuracy: Outcome of the accuracy check as JSON values; None where there was none.
        by_recipe: Whether the recipe alone makes these integers; not where training had a part.
    """
    here = engine.describe()
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {PROGRAM_DIGEST: digest(program)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": dict(recipe), "integers": BY_RECIPE if by_recipe else DRAFTED},
                "internalParameters": {
                    "python": platform.python_version(),
                    "system": here.system,
                    "instructionSets": list(here.features),
                },
                "resolvedDependencies": [
                    {"name": FLOAT_MODEL, "digest": {PROGRAM_DIGEST: source_sha256}},
                    *(_tool(tool, found) for tool, found in tool_versions().items()),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"intact": tool_versions().get("intact", "0")}},
                "byproducts": [] if accuracy is None else [_byproduct(ACCURACY, accuracy)],
            },
        },
    }


def with_calibration(statement: Mapping[str, Any], salted: str) -> dict[str, Any]:
    """Return `statement` with the salted digest of the calibration data."""
    predicate = statement["predicate"]
    definition = predicate["buildDefinition"]
    model, *tools = definition["resolvedDependencies"]
    data = {"name": CALIBRATION, "digest": {SALTED_DIGEST: salted}}
    definition = {**definition, "resolvedDependencies": [model, data, *tools]}
    return {**statement, "predicate": {**predicate, "buildDefinition": definition}}


def tool_versions() -> dict[str, str]:
    """Versions of the packages that took part and are installed."""
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found


def purl(name: str, version: str) -> str:
    """Return the package URL of a release on PyPI."""
    return f"pkg:pypi/{quote(name)}@{quote(version)}"


def _tool(name: str, found: str) -> dict[str, Any]:
    return {"name": name, "uri": purl(name, found), "annotations": {"version": found}}


def _byproduct(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A descriptor whose annotations are the thing itself, under the digest of their canonical JSON."""
    return {
        "name": name,
        "digest": {"sha256": hashlib.sha256(encode(values)).hexdigest()},
        "annotations": dict(values),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a statement says, checked for its form; whether it is true only `reproduce` can tell.

    Args:
        name: What the model is called.
        program: `digest` of the integers.
        float_model: `float_digest` of the float model.
        calibration: Salted digest of the calibration data; None where none are named.
        recipe: How it was compressed.
        by_recipe: Whether the recipe alone makes these integers.
        versions: Version of each tool that took part.
        parameters: Python, system and instruction sets of the host.
        accuracy: Outcome of the accuracy check, as it is told; None where there was none.
    """

    name: str
    program: str
    float_model: str
    calibration: str | None
    recipe: Recipe
    by_recipe: bool
    versions: Mapping[str, str]
    parameters: Mapping[str, Any]
    accuracy: Mapping[str, Any] | None


def parse(statement: Mapping[str, Any]) -> Lineage:
    """Read a statement that `statement` wrote.

    Raises:
        IntegrityError: It is no such statement, or lacks something.
        UsageError: It is of another kind of build.
    """
    try:
        definition, details = (statement["predicate"][key] for key in ("buildDefinition", "runDetails"))
        if (statement["predicateType"], definition["buildType"]) != (PREDICATE, BUILD_TYPE):
            raise UsageError(
                f"the lineage is of build type {definition['buildType']!a:.60}, wanted {BUILD_TYPE}",
                hint="use the version of intact that built it",
            )
        subject, given = statement["subject"][0], definition["externalParameters"]
        dependencies = {each["name"]: each for each in definition["resolvedDependencies"]}
        data = dependencies.get(CALIBRATION)
        return Lineage(
            name=_text(subject["name"]),
            program=_text(subject["digest"][PROGRAM_DIGEST]),
            float_model=_text(dependencies[FLOAT_MODEL]["digest"][PROGRAM_DIGEST]),
            calibration=None if data is None else _hex(data["digest"][SALTED_DIGEST]),
            recipe=recipes.from_json(given["recipe"], where="the recipe in the lineage"),
            by_recipe={BY_RECIPE: True, DRAFTED: False}[given["integers"]],
            versions={name: _text(dependencies[name]["annotations"]["version"]) for name in _tools(dependencies)},
            parameters=dict(definition["internalParameters"]),
            accuracy=next((dict(each["annotations"]) for each in _accuracies(details)), None),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise IntegrityError(f"the lineage is not as its build type has it: {type(error).__name__}") from error


def _tools(dependencies: Mapping[str, Any]) -> list[str]:
    return [name for name in dependencies if name not in (FLOAT_MODEL, CALIBRATION)]


def _accuracies(details: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [each for each in details["byproducts"] if each["name"] == ACCURACY]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _hex(value: Any) -> str:
    if HEX.fullmatch(_text(value)) is None:
        raise ValueError
    return str(value)
