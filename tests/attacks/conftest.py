"""An owner, a signer, and artifacts of theirs to attack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from intact import seal
from intact.graph import Program
from intact.seal.recipient import KeyPair
from intact.seal.recipients import x25519


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


def tiny() -> seal.Payload:
    tensors = {"encoder.weight": np.arange(-7, 8, dtype=np.int8).reshape(3, 5), "bias": np.float32([1.5, -2.5])}
    return seal.Payload(
        program=Program(model=b"graph of the model", tensors=tensors),
        header={"private": "metadata"},
        card={"name": "tiny"},
        lineage={"_type": "https://in-toto.io/Statement/v1"},
    )


def large() -> seal.Payload:
    """Two tensors of one shape, of several chunks and several digest segments."""
    rng = np.random.default_rng(3)
    tensors = {name: rng.integers(-128, 127, 2_300_000, dtype=np.int8) for name in ("first", "second")}
    return seal.Payload(program=Program(model=b"graph", tensors=tensors), header={}, card={}, lineage={})


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Victim]:
    """Artifacts by name; tests work on copies."""
    folder = tmp_path_factory.mktemp("masters")
    owner, signer = x25519.generate(), seal.SigningKey.generate()
    kinds = {
        "tiny": (tiny(), True, True),
        "sibling": (tiny(), True, True),
        "unsigned": (tiny(), True, False),
        "plain": (tiny(), False, True),
        "bare": (tiny(), False, False),
        "large": (large(), True, True),
        "large plain": (large(), False, True),
    }
    victims = {}
    for name, (payload, sealed, signed) in kinds.items():
        victims[name] = Victim(path=folder / name, owner=owner, signer=signer)
        recipients = [owner.recipient] if sealed else []
        seal.write(payload, folder / name, recipients=recipients, signer=signer if signed else None)
    return victims


@pytest.fixture
def victim(masters: dict[str, Victim], tmp_path: Path) -> Callable[[str], Victim]:
    """Return a function that gives a fresh copy of the master of that name."""

    def copy(name: str) -> Victim:
        path = tmp_path / f"{name}.intact"
        shutil.copytree(masters[name].path, path)
        return masters[name].at(path)

    return copy
