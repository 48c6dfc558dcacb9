"""The thief has the disk and no key, and wants to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import forge
import pytest
from victims import Victim, tiny

from intact import seal
from intact.errors import AccessError
from intact.seal.recipients import x25519

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
    weights, keys = (path / "weights.safetensors").read_bytes(), (path / "keys.age").read_bytes()
    payload = keys[keys.index(b"\n---") :].partition(b"\n")[2].partition(b"\n")[2]
    return weights[forge.tensor_spans(path)[0][0] :] + (path / "header.enc").read_bytes() + payload


def test_a_stranger_does_not_open(victim: Copy) -> None:
    target, signer = victim("tiny"), victim("sibling").signer
    for identities in ([x25519.generate().identity], [x25519.generate().identity for _ in range(3)]):
        with pytest.raises(AccessError, match=r"none of the \d identities given opens"):
            seal.read(target.path, identities=identities, signers=[signer.verifying_key])


def test_a_wrong_passphrase_does_not_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("words") / "m.intact"
    seal.write(tiny(), out, recipients=[seal.passphrase_recipient("correct horse battery staple")])
    with pytest.raises(AccessError, match="none of the 1 identities given opens"):
        seal.read(out, identities=[seal.passphrase_identity("correct horse battery stapler")], allow_unsigned=True)
    right = seal.passphrase_identity("correct horse battery staple")
    assert seal.read(out, identities=[right], allow_unsigned=True).header == tiny().header
