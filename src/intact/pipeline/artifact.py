"""What an artifact says of the program inside: to its reader (header), and to everybody (card)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from intact import engine, seal
from intact import guard as guards
from intact.compress.encodings import Encoding
from intact.errors import IntegrityError
from intact.graph.view import Port
from intact.pipeline import evidence, guarding, lineage

if TYPE_CHECKING:
    from intact.pipeline.building import Built

HEADER_VERSION = 1


def payload(built: Built) -> seal.Payload:
    """Return all that goes into the artifact of `built`; the salt of the calibration data is new each time."""
    header, about = _header(built), built.lineage
    if built.data_digest is not None:
        salt = evidence.fresh_salt()
        header[evidence.FIELD] = evidence.field(salt)
        about = lineage.with_calibration(about, evidence.salted(built.data_digest, salt))
    return seal.Payload(program=built.program, header=header, card=_card(built), lineage=about, stored=built.stored)


def profile(built: Built) -> str:
    """Return "exact" or "tolerant"."""
    return "exact" if built.plan.exact else "tolerant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a reader needs of an opened artifact, checked.

    Args:
        name: What the model is called.
        profile: "exact" or "tolerant", the same in card, header and self-test.
        rows_apart: Whether a row's result depends on that row alone.
        vectors: The self-test.
        guard: What the model accepts and gives; None where it was built without.
    """

    name: str
    profile: str
    rows_apart: bool
    vectors: engine.Vectors
    guard: guards.Contract | None = None


def read(payload: seal.Payload) -> Facts:
    """Return what card and header of an opened artifact say.

    Raises:
        IntegrityError: Another version, or a field that is missing, of another type, or contradicts another.
    """
    header, card = payload.header, payload.card
    if header.get("version") != HEADER_VERSION:
        raise IntegrityError(
            f"the header is of version {header.get('version')!r}, not {HEADER_VERSION}",
            hint="open it with the version of intact that wrote it",
        )
    vectors = engine.Vectors.from_json(header.get("vectors"))
    name, apart = card.get("name"), header.get("rows_apart")
    if not header.get("profile") == card.get("profile") == vectors.profile:
        raise IntegrityError("card, header and self-test of the artifact name different profiles")
    if not isinstance(name, str) or not isinstance(apart, bool):
        raise IntegrityError("card or header of the artifact lack a field, or have one of another type")
    contract = guarding.contract(header)
    return Facts(name=name, profile=vectors.profile, rows_apart=apart, vectors=vectors, guard=contract)


def ports(specs: Sequence[engine.TensorSpec]) -> tuple[Port, ...]:
    """Return an engine's own inputs or outputs as ports; an unnamed size gets a name of its own."""
    return tuple(
        Port(
            name=spec.name,
            dtype=np.dtype(spec.dtype),
            shape=tuple(f"{spec.name}_{axis}" if size is None else size for axis, size in enumerate(spec.shape or ())),
        )
        for spec in specs
    )


def _header(built: Built) -> dict[str, Any]:
    """The private description: encodings, self-test, guard."""
    return {
        "version": HEADER_VERSION,
        **({} if built.guard is None else {guards.FIELD: built.guard.to_json()}),
        "profile": profile(built),
        "rows_apart": built.rows_apart,
        "encodings": {name: _encoding(value) for name, value in sorted(built.encodings.items())},
        "layers": {layer.name: {"bits": layer.bits, "op": layer.op} for layer in built.layers},
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
