"""An owner, a signer, and artifacts of theirs to attack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from victims import Victim, large, packed, tiny

from intact import seal
from intact.seal.recipients import x25519


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Victim]:
    """Artifacts by name; tests work on copies."""
    folder = tmp_path_factory.mktemp("masters")
    owner, signer = x25519.generate(), seal.SigningKey.generate()
    kinds = {
        "tiny": (tiny(), True, True),
        "sibling": (tiny("sibling"), True, True),
        "unsigned": (tiny(), True, False),
        "plain": (tiny(), False, True),
        "bare": (tiny(), False, False),
        "packed": (packed(), True, False),
        "packed bare": (packed(), False, False),
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
