"""Where the integers came from, as an in-toto statement with SLSA provenance."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from intact.graph import Program

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:intact:build:1"
TOOLS = ("intact", "numpy", "onnx", "onnxruntime", "torch", "onnxscript")


def digest(program: Program) -> str:
    """SHA-256 of a program, names and shapes included, in hex."""
    hasher = hashlib.sha256(hashlib.sha256(program.model).digest())
    for name in sorted(program.tensors):
        tensor = program.tensors[name]
        hasher.update(f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode())
        hasher.update(hashlib.sha256(tensor.tobytes()).digest())
    return hasher.hexdigest()


def statement(
    *, name: str, program: Program, source_sha256: str, recipe: Mapping[str, Any], accuracy: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the statement. It holds no time and no host, so that the same build gives the same bytes."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest(program)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": dict(recipe)},
                "internalParameters": {"python": platform.python_version()},
                "resolvedDependencies": [
                    {"name": "float model", "digest": {"sha256": source_sha256}},
                    *({"name": tool, "annotations": {"version": found}} for tool, found in tool_versions().items()),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILD_TYPE, "version": {"intact": tool_versions().get("intact", "0")}},
                "byproducts": [{"name": "accuracy", "annotations": dict(accuracy)}] if accuracy else [],
            },
        },
    }


def tool_versions() -> dict[str, str]:
    """Versions of the packages that took part and are installed."""
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found
