"""The forger makes artifacts and wants them taken for the owner's; some know the data key."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import forge
import pytest
from victims import Victim, tiny

from intact import seal
from intact.crypto import Secret
from intact.crypto.chunked import seal as encrypt
from intact.errors import AccessError, IntegrityError
from intact.seal import bundle, signing, wrapping
from intact.seal.derivation import Keyring
from intact.seal.manifest import Manifest
from intact.wire import decode, encode

Copy = Callable[[str], Victim]


def test_an_unsigned_artifact_is_refused(victim: Copy) -> None:
    target = victim("unsigned")
    with pytest.raises(AccessError, match="artifact is not signed"):
        target.read()
    with pytest.raises(AccessError, match="artifact is not signed"):
        seal.verify(target.path, signers=[target.signer.verifying_key])


def test_a_strangers_signature_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    forge.sign(target.path, seal.SigningKey.generate())
    for act in (target.read, lambda: seal.verify(target.path, signers=[target.signer.verifying_key])):
        with pytest.raises(AccessError, match="which is not one of the 1 named"):
            act()


def test_a_signature_that_claims_a_named_key_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    forge.sign(target.path, seal.SigningKey.generate())
    claimed = decode((target.path / "model.sig").read_bytes(), where="signature")
    claimed["verificationMaterial"]["publicKey"]["hint"] = target.signer.verifying_key.hint
    (target.path / "model.sig").write_bytes(encode(claimed))
    for allow_unsigned in (False, True):
        with pytest.raises(IntegrityError, match="signature does not verify"):
            target.read(allow_unsigned=allow_unsigned)


def test_a_signature_for_another_purpose_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    good = bundle.read((target.path / "model.sig").read_bytes())
    for kind in ("application/vnd.in-toto+json ", "application/vnd.intact.manifest.v1+json", ""):
        made = replace(good, signature=target.signer.sign(kind, good.payload))
        (target.path / "model.sig").write_bytes(made.to_bytes())
        with pytest.raises(IntegrityError, match="signature does not verify"):
            target.read()


def test_a_signature_over_something_else_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    good = bundle.read((target.path / "model.sig").read_bytes())
    statement = json.loads(good.payload)
    statement["predicateType"] = "https://slsa.dev/provenance/v1"
    for payload in (b"", b"{}", b"[" * 5000, (target.path / "manifest.json").read_bytes(), encode(statement)):
        (target.path / "model.sig").write_bytes(signing.sign(payload, target.signer).to_bytes())
        with pytest.raises(IntegrityError, match="the signed statement is"):
            target.read()


def test_no_named_signer_accepts_nothing(victim: Copy) -> None:
    target = victim("tiny")
    with pytest.raises(AccessError, match="no signer was named"):
        seal.read(target.path, identities=[target.owner.identity])


def data_key(target: Victim) -> Keyring:
    """Return the keys of `target`, as every recipient has them."""
    manifest = Manifest.from_bytes((target.path / "manifest.json").read_bytes())
    key = forge.data_key(target.path, target.owner.identity)
    return Keyring(data_key=key, artifact=manifest.artifact, revision=manifest.revision)


def test_a_recipient_cannot_change_the_weights(victim: Copy) -> None:
    target = victim("tiny")
    start, end = forge.tensor_spans(target.path)[1]
    key = data_key(target).tensors([("F32", (2,)), ("I8", (3, 5))])[1]
    with (target.path / "weights.safetensors").open("r+b") as file:
        file.seek(start)
        file.write(encrypt(key, bytes(15)))
        assert file.tell() == end
    with pytest.raises(IntegrityError, match="does not match its digest"):
        target.read()
    forge.fix_digests(target.path)
    with pytest.raises(IntegrityError, match=r"manifest\.json is not the file that was signed"):
        target.read()
    (target.path / "model.sig").unlink()
    with pytest.raises(AccessError, match="artifact is not signed"):
        target.read()
    assert not target.read(allow_unsigned=True).program.tensors["encoder.weight"].any()  # only the signature tells


def test_a_header_from_another_revision_is_refused(victim: Copy, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = victim("unsigned")
    first = forge.load(target.path)
    later = target.at(tmp_path_factory.mktemp("later") / "m.intact")
    seal.write(tiny(), later.path, recipients=[target.owner.recipient], artifact=first["artifact"], revision=2)
    for name in ("header.enc", "keys.json"):
        mixed = target.at(later.path.with_name(f"mixed with {name}"))
        shutil.copytree(later.path, mixed.path)
        shutil.copy(target.path / name, mixed.path / name)
        forge.fix_digests(mixed.path)
        with pytest.raises(IntegrityError):
            mixed.read(allow_unsigned=True)


def test_renaming_an_artifact_or_its_revision_is_refused(victim: Copy) -> None:
    for field, value in [("artifact", "0" * 32), ("revision", 2)]:
        target = victim("unsigned")
        manifest = forge.load(target.path)
        manifest[field] = value
        forge.store(target.path, manifest)
        with pytest.raises(IntegrityError, match="key of another artifact"):
            target.read(allow_unsigned=True)
        shutil.rmtree(target.path)


def test_another_card_or_lineage_does_not_fit_the_key(victim: Copy) -> None:
    target = victim("unsigned")
    manifest = forge.load(target.path)
    manifest["card"] = {"name": "evil"}
    forge.store(target.path, manifest)
    with pytest.raises(IntegrityError, match="does not open under this key"):
        target.read(allow_unsigned=True)
    shutil.rmtree(target.path)
    target = victim("unsigned")
    (target.path / "lineage.json").write_bytes(encode({"_type": "forged"}))
    forge.fix_digests(target.path)
    with pytest.raises(IntegrityError, match="does not open under this key"):
        target.read(allow_unsigned=True)


def test_a_key_of_the_forgers_choice_is_refused(victim: Copy) -> None:
    target = victim("tiny")
    keyring = Keyring(data_key=Secret(os.urandom(32)), artifact=forge.load(target.path)["artifact"], revision=1)
    other = wrapping.wrap(keyring, [target.owner.recipient])
    (target.path / "keys.json").write_bytes(other)
    with pytest.raises(IntegrityError, match="key of another artifact"):
        target.read()


def test_one_ciphertext_has_one_key(victim: Copy) -> None:
    """AES-GCM alone lets a forger make a ciphertext that opens under two keys; the commitments do not."""
    target = victim("unsigned")
    keyring, forged = data_key(target), Secret(bytes(32))
    other = Keyring(data_key=forged, artifact=keyring.artifact, revision=keyring.revision)
    manifest = forge.load(target.path)
    manifest["key_commitment"] = other.commitment
    forge.store(target.path, manifest)
    (target.path / "keys.json").write_bytes(wrapping.wrap(other, [target.owner.recipient]))
    with pytest.raises(IntegrityError, match="does not open under this key"):
        target.read(allow_unsigned=True)
