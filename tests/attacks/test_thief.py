"""The thief has the disk and no key, and wants to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forge
import pytest
from victims import Victim, tiny

from intact import seal
from intact.errors import AccessError
from intact.seal.recipients import hybrid, x25519
from intact.seal.wrapping import KeyFile

Copy = Callable[[str], Victim]


def test_no_private_byte_lies_on_the_disk(victim: Copy) -> None:
    files = {path.name: path.read_bytes() for path in victim("tiny").path.iterdir()}
    program = tiny().program
    private = [b"encoder", b"bias", program.model, b"private", b'"I8"', b'"F32"']  # short ones turn up by chance
    private += [tensor.tobytes() for tensor in program.tensors.values()]
    for name, data in files.items():
        assert not [text for text in private if text in data], name


def test_two_sealings_of_one_model_have_nothing_in_common(victim: Copy) -> None:
    """Not even 6 bytes in a row: nobody can tell that two artifacts hold the same model, or a model they know."""
    one, other = encrypted(victim("tiny").path), encrypted(victim("sibling").path)
    assert not {one[at : at + 6] for at in range(len(one) - 5)} & {other[at : at + 6] for at in range(len(other) - 5)}


def encrypted(path: Path) -> bytes:
    """Return every encrypted byte of the artifact at `path`."""
    weights, keys = (path / "weights.safetensors").read_bytes(), KeyFile.from_bytes((path / "keys.json").read_bytes())
    wrapped = keys.recipients[0].data
    payload = wrapped[wrapped.index(b"\n---") :].partition(b"\n")[2].partition(b"\n")[2]
    return weights[forge.tensor_spans(path)[0][0] :] + (path / "header.enc").read_bytes() + payload


def test_a_stranger_does_not_open(victim: Copy) -> None:
    target, signer = victim("tiny"), victim("sibling").signer
    for identities in ([x25519.generate().identity], [x25519.generate().identity for _ in range(3)]):
        with pytest.raises(AccessError, match=r"none of the \d identities given is among the 1 recipients"):
            seal.read(target.path, identities=identities, signers=[signer.verifying_key])


def test_half_of_a_hybrid_key_does_not_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As who breaks X25519 one day, or ML-KEM, would have it."""
    out, owner, stranger = tmp_path_factory.mktemp("hybrid") / "m.intact", hybrid.generate(), hybrid.generate()
    seal.write(tiny(), out, recipients=[owner.recipient])
    kem, curve = hybrid._private_keys(owner.identity.secret.value.decode())
    other_kem, other_curve = hybrid._private_keys(stranger.identity.secret.value.decode())
    for half in (hybrid._identity(kem, other_curve), hybrid._identity(other_kem, curve)):
        with pytest.raises(AccessError, match="hybrid identity does not unwrap"):
            seal.read(out, identities=[replace(half, public=owner.recipient.public)], allow_unsigned=True)
    assert seal.read(out, identities=[owner.identity], allow_unsigned=True).card == {"name": "tiny"}


def test_a_wrong_passphrase_does_not_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("words") / "m.intact"
    seal.write(tiny(), out, recipients=[seal.passphrase_recipient("correct horse battery staple")])
    with pytest.raises(AccessError, match="passphrase does not unwrap the data key"):
        seal.read(out, identities=[seal.passphrase_identity("correct horse battery stapler")], allow_unsigned=True)
    right = seal.passphrase_identity("correct horse battery staple")
    assert seal.read(out, identities=[right], allow_unsigned=True).header == tiny().header
