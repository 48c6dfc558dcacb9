"""A bill of materials of an artifact, as CycloneDX 1.6 tells machine-learning models.

It holds what the artifact says in public: manifest, card and lineage. It has no time of its own: one artifact gives one
bill, byte for byte.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact import seal
from intact.crypto import sha256_file
from intact.errors import IntegrityError
from intact.pipeline import lineage
from intact.pipeline.files import whole_file
from intact.pipeline.lineage import Lineage
from intact.seal import layout

SPEC_VERSION: Final = "1.6"
SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
NAMESPACE: Final = uuid.UUID("5e1d3a0e-6f0b-5b7c-9a53-0c8f0d4f7a11")
"""What serial numbers are derived in, with the artifact's id and revision."""
MODEL, FLOAT_MODEL, CALIBRATION, CARD = "model", "float-model", "calibration-data", "model-card"


def bom(path: Path | str, *, verified: seal.Manifest | None = None) -> dict[str, Any]:
    """Return the bill of materials of the artifact at `path`, as JSON values.

    Args:
        path: The artifact's folder.
        verified: What `intact.seal.verify` returned for it: the bill is of this and says so. Nothing is verified here.

    Raises:
        UsageError: There is no artifact at `path`.
        IntegrityError: It is no artifact, or not the one that was verified, or its lineage is not one of ours.
    """
    found = seal.inspect(Path(path))
    manifest = found.manifest
    if verified is not None and manifest != verified:
        raise IntegrityError(f"the artifact at {str(path)!a} changed after it was verified")
    said = lineage.parse(found.lineage)
    components = [_float_model(said), *([_calibration(said)] if said.calibration else []), *_tools(said)]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{manifest.artifact}/{manifest.revision}')}",
        "version": 1,
        "metadata": {
            "component": _model(found, said, Path(path)),
            "properties": _properties({"verified": "false" if verified is None else "true"}),
        },
        "components": components,
        "dependencies": [
            {"ref": MODEL, "dependsOn": [each["bom-ref"] for each in components]},
            *({"ref": each["bom-ref"]} for each in components),
        ],
    }


def write_bom(bill: Mapping[str, Any], path: Path) -> None:
    """Write `bill` to `path`: whole, or not at all.

    Raises:
        UsageError: The system refuses to write there.
    """
    with whole_file(path) as file:
        file.write(to_text(bill).encode())


def to_text(bill: Mapping[str, Any]) -> str:
    """Return `bill` as JSON with a line feed at its end."""
    return json.dumps(bill, indent=2, sort_keys=True) + "\n"


def _model(found: seal.Inspection, said: Lineage, path: Path) -> dict[str, Any]:
    """The integer model: its files, its card, what fixes it."""
    manifest = found.manifest
    names = (layout.WEIGHTS, layout.MANIFEST, layout.LINEAGE, manifest.header_name)
    files = [_file(path / name, found.sizes[name]) for name in names]
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": said.name,
        "version": str(manifest.revision),
        "hashes": next(each["hashes"] for each in files if each["name"] == layout.MANIFEST),
        "modelCard": _card(manifest.card, said),
        "components": files,
        "properties": _properties(
            {
                "artifact": manifest.artifact,
                "revision": manifest.revision,
                "suite": manifest.suite,
                "hash of": f"{layout.MANIFEST}, which fixes every other file but keys and signatures",
                "program": said.program,
                "integers": lineage.BY_RECIPE if said.by_recipe else lineage.DRAFTED,
                "recipe": json.dumps(said.recipe.to_json(), sort_keys=True),
                "seed": said.recipe.seed,
                "profile": manifest.card.get("profile", "unknown"),
                **{f"signed by {number}": key for number, key in enumerate(found.signed_by)},
            }
        ),
    }


def _file(path: Path, size: int) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{path.name}",
        "name": path.name,
        "hashes": [{"alg": "SHA-256", "content": sha256_file(path)}],
        "properties": _properties({"bytes": size}),
    }


def _card(card: Mapping[str, Any], said: Lineage) -> dict[str, Any]:
    """The model card: what it takes and gives, on what it was calibrated, how it did."""
    parameters: dict[str, Any] = {
        "inputs": [{"format": text} for text in _ports(card.get("inputs"))],
        "outputs": [{"format": text} for text in _ports(card.get("outputs"))],
    }
    if said.calibration:
        parameters["datasets"] = [{"ref": CALIBRATION}]
    found: dict[str, Any] = {"bom-ref": CARD, "modelParameters": parameters}
    if said.accuracy:
        found["quantitativeAnalysis"] = {"performanceMetrics": _metrics(said.accuracy)}
    return found


def _ports(ports: Any) -> list[str]:
    """What a card says of its ports, which may be anything."""
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        return []
    return [f"{port.get('name')}: {port.get('dtype')}{port.get('shape')}" for port in ports]


def _metrics(accuracy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metric before and after, and the difference with its interval."""
    kinds = {
        "metric of the float model": "float_metric",
        "metric of the integer model": "integer_metric",
        "difference": "difference",
    }
    found: list[dict[str, Any]] = [{"type": kind, "value": str(accuracy.get(key))} for kind, key in kinds.items()]
    interval = accuracy.get("interval")
    if isinstance(interval, list | tuple) and len(interval) == 2:
        lower, upper = map(str, interval)
        found[-1]["confidenceInterval"] = {"lowerBound": lower, "upperBound": upper}
    return found


def _float_model(said: Lineage) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": FLOAT_MODEL,
        "name": f"{said.name} (float)",
        "properties": _properties({lineage.PROGRAM_DIGEST: said.float_model}),
    }


def _calibration(said: Lineage) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": CALIBRATION,
        "name": lineage.CALIBRATION,
        "data": [{"type": "dataset", "name": lineage.CALIBRATION}],
        "properties": _properties({lineage.SALTED_DIGEST: said.calibration}),
    }


def _tools(said: Lineage) -> list[dict[str, Any]]:
    """The packages that took part."""
    return [
        {
            "type": "library",
            "bom-ref": f"tool:{name}",
            "name": name,
            "version": version,
            "purl": lineage.purl(name, version),
        }
        for name, version in said.versions.items()
    ]


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"intact:{name}", "value": str(value)} for name, value in values.items()]
