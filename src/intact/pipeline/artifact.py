"""What an artifact says of the program inside: to its reader (header), and to everybody (card)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intact.pipeline.build import Built

HEADER_VERSION = 1


def header(built: Built) -> dict[str, Any]:
    """Return the private description: ends, encodings, self-test."""
    return {
        "version": HEADER_VERSION,
        "profile": profile(built),
        "encodings": {name: _encoding(value) for name, value in sorted(built.encodings.items())},
        "layers": {layer.name: {"bits": layer.weight_bits, "op": layer.op} for layer in built.layers},
        "vectors": built.vectors.to_json(),
    }


def card(built: Built) -> dict[str, Any]:
    """Return what anybody may read: nothing of the weights or the data."""
    return {
        "name": built.name,
        "profile": profile(built),
        "inputs": [_port(port) for port in built.plan.graph.inputs],
        "outputs": [_port(port) for port in built.plan.graph.outputs],
        "program_bytes": built.program.size_bytes,
        "float_bytes": built.float_bytes,
    }


def profile(built: Built) -> str:
    """"exact" or "tolerant"."""
    return "exact" if built.plan.exact else "tolerant"


def _port(port: Any) -> dict[str, Any]:
    return {"name": port.name, "dtype": port.dtype.name, "shape": list(port.shape)}


def _encoding(value: Any) -> Mapping[str, Any]:
    return {"scale": value.scale, "zero_point": value.zero_point, "factor": value.factor}
