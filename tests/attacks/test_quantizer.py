"""The quantizer makes the artifact and signs it, so every signature and digest holds; it wants other integers, or other
data, taken for what the owner asked for. The curious has the lineage and wants to learn the data from it."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact import engine, seal
from intact.crypto import Secret
from intact.errors import AccessError
from intact.pipeline import artifact, calibrated_on, evidence, lineage, reproduce
from support.nets import data, mlp

X = data(1, 48, 8)
SPEC = intact.Spec(model=mlp(hidden=32), calibration=X, name="tiny")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> intact.Keys:
    return intact.new_keys(tmp_path_factory.mktemp("keys") / "owner")


def made(
    out: Path, keys: intact.Keys, *, change: int = 0, calibration: Any = X, claim: Any = X, sealed: bool = True
) -> Path:
    """Build as asked, then change the first integer and make all the rest fit, and sign."""
    built = intact.build(replace(SPEC, calibration=calibration), engines=["onnxruntime"])
    name = next(name for name, value in sorted(built.program.tensors.items()) if value.dtype == np.int8)
    weights = built.program.tensors[name].copy()
    weights.reshape(-1)[0] ^= change
    program = replace(built.program, tensors={**built.program.tensors, name: weights})
    said = lineage.parse(built.lineage)
    forged = replace(
        built,
        program=program,
        stored=tuple(seal.store(program)),
        vectors=engine.make_vectors(program, artifact.profile(built), said.recipe.seed),
        data_digest=evidence.digest(evidence.pieces_of(claim, built.inputs)),
        lineage=lineage.statement(
            name=built.name,
            program=program,
            source_sha256=built.source_sha256,
            recipe=said.recipe.to_json(),
            accuracy=None,
        ),
    )
    recipients = [keys.recipient] if sealed else []
    seal.write(artifact.payload(forged), out, recipients=recipients, signer=keys.signer)
    return out


def test_one_other_integer_is_found_and_nothing_else_finds_it(keys: intact.Keys, tmp_path: Path) -> None:
    access = {"identity": keys.identity, "signer": keys.verifier}
    for change in (1, -128):
        path = made(tmp_path / f"{change}.intact", keys, change=change)
        seal.verify(path, signers=[keys.verifier])
        intact.open(path, **access, engines=["onnxruntime"])
        found = reproduce(path, SPEC, **access)
        assert not found.equal and [each.differing for each in found.differences] == [1]
    assert reproduce(made(tmp_path / "honest.intact", keys), SPEC, **access).equal


def test_data_that_were_not_used_are_found(keys: intact.Keys, tmp_path: Path) -> None:
    access = {"identity": keys.identity, "signer": keys.verifier}
    path = made(tmp_path / "m.intact", keys, calibration=2 * X, claim=X)
    found = reproduce(path, SPEC, **access)
    assert found.calibration_fits and not found.equal  # it names the owner's data, and other integers give it away
    path = made(tmp_path / "n.intact", keys, calibration=2 * X, claim=2 * X)
    assert reproduce(path, SPEC, **access).calibration_fits is False and not calibrated_on(path, X, **access)


def test_the_data_cannot_be_guessed_from_the_lineage(keys: intact.Keys, tmp_path: Path) -> None:
    paths = [made(tmp_path / f"{number}.intact", keys) for number in range(2)]
    named = [lineage.parse(json.loads((path / "lineage.json").read_bytes())).calibration for path in paths]
    assert named[0] != named[1]  # the same data: nothing public says so
    guess = evidence.digest(evidence.pieces_of(X, intact.open(paths[0], **_access(keys)).inputs)).value
    public = b"".join(file.read_bytes() for path in paths for file in sorted(path.iterdir()))
    keyless = [b"", b"\0" * 32, *(str(file.name).encode() for file in paths)]
    keyless += [bytes.fromhex(seal.inspect(path).manifest.artifact) for path in paths]
    tried = [guess, hashlib.sha256(guess).digest(), *(hmac.digest(key, guess, "sha256") for key in keyless)]
    assert not any(each in public or each.hex().encode() in public for each in tried)
    with pytest.raises(AccessError):
        calibrated_on(paths[0], X, signer=keys.verifier)


def test_in_an_artifact_that_is_not_encrypted_a_guess_can_be_tried(keys: intact.Keys, tmp_path: Path) -> None:
    """What the threat model says is not covered: the salt lies open, and whoever has the data can tell."""
    path = made(tmp_path / "m.intact", keys, sealed=False)
    assert calibrated_on(path, X, allow_unsigned=True)
    salt = Secret(bytes.fromhex(seal.read(path, allow_unsigned=True).header["calibration"]["salt"]))
    digest = evidence.digest(evidence.pieces_of(X, intact.open(path, allow_unsigned=True).inputs))
    assert evidence.salted(digest, salt).encode() in (path / "lineage.json").read_bytes()


def _access(keys: intact.Keys) -> dict[str, Any]:
    return {"identity": keys.identity, "signer": keys.verifier, "engines": ["onnxruntime"]}
