"""Artifacts to attack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intact import seal
from intact.graph import Program
from intact.seal.recipient import KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """An artifact, and what its owner opens it with."""

    path: Path
    owner: KeyPair
    signer: seal.SigningKey

    def read(self, *, allow_unsigned: bool = False) -> seal.Payload:
        signers = [self.signer.verifying_key]
        return seal.read(self.path, identities=[self.owner.identity], signers=signers, allow_unsigned=allow_unsigned)

    def at(self, path: Path) -> Victim:
        return Victim(path=path, owner=self.owner, signer=self.signer)


def tiny(name: str = "tiny") -> seal.Payload:
    tensors = {"encoder.weight": np.arange(-7, 8, dtype=np.int8).reshape(3, 5), "bias": np.float32([1.5, -2.5])}
    return seal.Payload(
        program=Program(model=b"graph of the model", tensors=tensors),
        header={"private": "metadata"},
        card={"name": name},
        lineage={"_type": "https://in-toto.io/Statement/v1", "subject": [name]},
    )


def large() -> seal.Payload:
    """Two tensors of one shape, of several chunks and several digest segments."""
    rng = np.random.default_rng(3)
    tensors = {name: rng.integers(-128, 127, 2_300_000, dtype=np.int8) for name in ("first", "second")}
    return seal.Payload(program=Program(model=b"graph", tensors=tensors), header={}, card={}, lineage={})


def packed() -> seal.Payload:
    """Small tensors in several storage forms, named after them."""
    rng = np.random.default_rng(5)
    narrow = rng.integers(-1, 3, (16, 32))
    tensors = {
        "codes": np.array([-90, 7, 11, 100])[narrow + 1],
        "multiples": narrow * np.repeat(rng.integers(1, 40, (16, 2)), 16, axis=1),
        "zstd": np.where(rng.random((30, 32)) < 0.6, 0, rng.integers(-127, 128, (30, 32))),
    }
    found = {name: tensor.astype(np.int8) for name, tensor in tensors.items()}
    program = Program(model=b"graph", tensors=found)
    return seal.Payload(program=program, header={}, card={"name": "packed"}, lineage={})
