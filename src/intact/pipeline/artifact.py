"""What an artifact says of the program inside: to its reader (header), and to everybody (card)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from intact import engine, seal
from intact.compress.encodings import Encoding
from intact.errors import IntegrityError
from intact.graph.view import Port

if TYPE_CHECKING:
    from intact.pipeline.building import Built

HEADER_VERSION = 1


def payload(built: Built) -> seal.Payload:
    """Return all that goes into the artifact of `built`."""
    return seal.Payload(program=built.program, header=_header(built), card=_card(built), lineage=built.lineage)


def profile(built: Built) -> str:
    """Return "exact" or "tolerant"."""
    return "exact" if built.plan.exact else "tolerant"


def vectors(header: Mapping[str, Any]) -> engine.Vectors:
    """Return the self-test in a header.

    Raises:
        IntegrityError: The header is of another version, or its self-test cannot be read.
    """
    if header.get("version") != HEADER_VERSION:
        raise IntegrityError(
            f"the header is of version {header.get('version')!r}, not {HEADER_VERSION}",
            hint="open it with the version of intact that wrote it",
        )
    return engine.Vectors.from_json(header.get("vectors"))


def ports(card: Mapping[str, Any], key: str) -> tuple[Port, ...]:
    """Return the "inputs" or "outputs" of a card."""
    return tuple(
        Port(name=port["name"], dtype=np.dtype(port["dtype"]), shape=tuple(port["shape"])) for port in card[key]
    )


def _header(built: Built) -> dict[str, Any]:
    """The private description: encodings, self-test."""
    return {
        "version": HEADER_VERSION,
        "profile": profile(built),
        "encodings": {name: _encoding(value) for name, value in sorted(built.encodings.items())},
        "layers": {layer.name: {"bits": layer.weights.bits, "op": layer.op} for layer in built.layers},
        "vectors": built.vectors.to_json(),
    }


def _card(built: Built) -> dict[str, Any]:
    """What anybody may read: nothing of the weights or the data."""
    return {
        "name": built.name,
        "profile": profile(built),
        "inputs": [_port(port) for port in built.plan.graph.inputs],
        "outputs": [_port(port) for port in built.plan.graph.outputs],
        "program_bytes": built.program.size_bytes,
        "float_bytes": built.float_bytes,
    }


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": port.dtype.name, "shape": list(port.shape)}


def _encoding(value: Encoding) -> Mapping[str, Any]:
    """What a code means. The divisors of a smoothed input are a constant of the graph already."""
    found = {"scale": value.scale, "zero_point": value.zero_point}
    return {**found, "smoothed": True} if value.factor.ndim else {**found, "factor": float(value.factor)}
