"""`intact doctor`: what this host is, and which engines conform on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from intact.cli.console import failures, out, show
from intact.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Say what this host is, which engines are installed, and whether they compute what a model defines.

    Exit code 1 if no engine conforms.
    """
    with failures(as_json=as_json):
        from intact import pipeline
        from intact.errors import CheckFailed

        found = pipeline.examine()
        facts: dict[str, Any] = {
            "host": asdict(found.host) | {"engines": dict(found.host.engines)},
            "versions": dict(found.versions),
            "engines": [asdict(check) for check in found.checks],
        }
        show(facts, lambda: _tell(found), as_json=as_json)
        if not any(check.conforms for check in found.checks):
            raise CheckFailed("no engine on this host conforms", hint="pip install onnxruntime, or intact[openvino]")


def _tell(found: Any) -> None:
    host = found.host
    rows = [
        ("host", f"{host.system}, {host.cpu}, {host.cores} cores"),
        ("sets", " ".join(host.features) or "none known"),
        ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
    ]
    for name, value in rows:
        out.print(f"{name:<18} {value}", markup=False)
    for check in found.checks:
        version = f" {check.version}" if check.version else ""
        out.print(f"{check.name:<18} {'conforms' if check.conforms else check.outcome}{version}", markup=False)
