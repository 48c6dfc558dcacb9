"""Artifacts written and read: the round trip, the layout on disk, who may open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from intact import seal
from intact.crypto.chunked import sealed_size
from intact.errors import AccessError, IntegrityError, UsageError
from intact.graph import Program
from intact.numbers import storage
from intact.seal.recipient import KeyPair
from intact.seal.recipients import x25519
from intact.seal.tensors import store
from intact.wire import decode, encode


def assert_same(found: seal.Payload, wanted: seal.Payload) -> None:
    assert found.program.model == wanted.program.model
    assert found.program.tensors.keys() == wanted.program.tensors.keys()
    for name, tensor in wanted.program.tensors.items():
        assert found.program.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.program.tensors[name], tensor, strict=True)
    assert (found.header, found.card, found.lineage) == (wanted.header, wanted.card, wanted.lineage)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_payload_comes_back(
    tmp_path: Path, payload: seal.Payload, owner: KeyPair, signer: seal.SigningKey, sealed: bool, signed: bool
) -> None:
    out = tmp_path / "m.intact"
    written = seal.write(payload, out, recipients=[owner.recipient] * sealed, signer=signer if signed else None)
    found = seal.read(
        out,
        identities=[owner.identity] * sealed,
        signers=[signer.verifying_key] * signed,
        allow_unsigned=not signed,
    )
    assert_same(found, payload)
    names = {"weights.safetensors", "manifest.json", "lineage.json", "header.enc" if sealed else "header.bin"}
    wanted = names | ({"keys.json"} if sealed else set()) | ({"model.sig"} if signed else set())
    assert {path.name for path in out.iterdir()} == wanted
    facts = seal.inspect(out)
    assert facts.manifest == written
    assert facts.manifest.sealed is sealed
    assert facts.recipients == sealed
    assert facts.signed_by == ((signer.verifying_key.hint,) if signed else ())
    assert facts.sizes == {path.name: path.stat().st_size for path in out.iterdir()}
    assert facts.lineage == payload.lineage


@given(
    tensors=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
        arrays.arrays(
            st.sampled_from(["?", "u1", ">i2", "<f4", ">f8", "i8"]), arrays.array_shapes(min_dims=0, min_side=0)
        ),
        max_size=4,
    ),
    graph=st.binary(max_size=100),
)
@settings(max_examples=25, deadline=None)
def test_every_payload_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray], graph: bytes
) -> None:
    pair = x25519.generate()
    out = tmp_path_factory.mktemp("any") / "m.intact"
    program = Program(model=graph, tensors=tensors)
    seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), out, recipients=[pair.recipient])
    found = seal.read(out, identities=[pair.identity], allow_unsigned=True).program
    assert found.model == graph
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].shape == tensor.shape
        assert found.tensors[name].tobytes() == tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()


def test_tensors_are_aligned_and_read_only(tmp_path: Path, payload: seal.Payload, owner: KeyPair) -> None:
    for name, recipients in [("sealed", [owner.recipient]), ("plain", [])]:
        seal.write(payload, tmp_path / name, recipients=recipients)
        found = seal.read(tmp_path / name, identities=[owner.identity], allow_unsigned=True)
        for tensor in found.program.tensors.values():
            assert tensor.size == 0 or tensor.ctypes.data % 64 == 0
            assert tensor.flags.c_contiguous
            assert not tensor.flags.writeable


def test_a_sealed_file_is_safetensors_of_ciphertext(tmp_path: Path, payload: seal.Payload, owner: KeyPair) -> None:
    seal.write(payload, tmp_path / "m", recipients=[owner.recipient])
    found = safetensors.numpy.load_file(tmp_path / "m" / "weights.safetensors")
    assert sorted(found) == [f"t{number:05d}" for number in range(len(payload.program.tensors))]
    assert all(tensor.dtype == np.uint8 for tensor in found.values())
    sizes = sorted(sealed_size(len(each.data)) for each in store(payload.program))
    assert sorted(tensor.nbytes for tensor in found.values()) == sizes


def test_a_plain_file_is_safetensors_of_the_tensors_as_stored(tmp_path: Path, payload: seal.Payload) -> None:
    seal.write(payload, tmp_path / "m")
    found, forms = safetensors.numpy.load_file(tmp_path / "m" / "weights.safetensors"), set()
    specs = seal.inspect(tmp_path / "m").tensors
    assert specs is not None
    for number, spec in enumerate(specs):
        tensor = found[f"t{number:05d}"]
        forms.add(spec.form)
        if spec.form == "raw":
            np.testing.assert_array_equal(tensor, payload.program.tensors[spec.name], strict=True)
        else:
            assert (tensor.dtype, tensor.ndim) == (np.uint8, 1)
            assert tensor.nbytes < payload.program.tensors[spec.name].nbytes
    assert forms == {"raw", *storage.forms.forms()}


def test_only_a_plain_artifact_says_how_its_tensors_are_stored(
    tmp_path: Path, payload: seal.Payload, owner: KeyPair
) -> None:
    seal.write(payload, tmp_path / "m", recipients=[owner.recipient])
    assert seal.inspect(tmp_path / "m").tensors is None


def test_digests_are_of_the_tensors_whatever_their_form(tmp_path: Path, payload: seal.Payload) -> None:
    seal.write(payload, tmp_path / "m")
    for spec in seal.inspect(tmp_path / "m").tensors or ():
        tensor = payload.program.tensors[spec.name]
        plain = tensor.astype(np.uint8) & 15 if spec.dtype in ("I4", "U4") else tensor
        assert spec.blake3 == blake3(plain.tobytes()).hexdigest()


def test_the_other_half_of_a_nibble_means_nothing(tmp_path: Path) -> None:
    codes = np.arange(256, dtype=np.uint8)
    for name, dtype in (("I4", ml_dtypes.int4), ("U4", ml_dtypes.uint4)):
        program = Program(model=b"", tensors={"w": codes.view(dtype)})
        seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), tmp_path / name)
        found = seal.read(tmp_path / name, allow_unsigned=True).program.tensors["w"]
        assert found.dtype == dtype
        assert np.array_equal(found.view(np.uint8), codes & 15)


def test_a_program_without_tensors_comes_back(tmp_path: Path, owner: KeyPair) -> None:
    bare = seal.Payload(program=Program(model=b"", tensors={}), header={}, card={}, lineage={})
    for name, recipients in [("sealed", [owner.recipient]), ("plain", [])]:
        seal.write(bare, tmp_path / name, recipients=recipients)
        assert_same(seal.read(tmp_path / name, identities=[owner.identity], allow_unsigned=True), bare)
        assert safetensors.numpy.load_file(tmp_path / name / "weights.safetensors") == {}


def test_what_is_encrypted_is_deterministic(tmp_path: Path, payload: seal.Payload) -> None:
    again = seal.Payload(
        program=Program(model=payload.program.model, tensors=dict(reversed(list(payload.program.tensors.items())))),
        header=dict(reversed(list(payload.header.items()))),
        card=payload.card,
        lineage=payload.lineage,
    )
    one, other = tmp_path / "one", tmp_path / "other"
    seal.write(payload, one, artifact="0" * 32)
    seal.write(again, other, artifact="0" * 32)
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_what_is_public_is_canonical_json(tmp_path: Path, payload: seal.Payload, signer: seal.SigningKey) -> None:
    seal.write(payload, tmp_path / "m", signer=signer)
    for name in ("manifest.json", "lineage.json", "model.sig"):
        text = (tmp_path / "m" / name).read_bytes()
        assert encode(decode(text, where=name)) == text


def test_any_recipient_opens(tmp_path: Path, payload: seal.Payload) -> None:
    pairs = [x25519.generate() for _ in range(3)]
    seal.write(payload, tmp_path / "m", recipients=[pair.recipient for pair in pairs])
    assert seal.inspect(tmp_path / "m").recipients == 3
    for pair in pairs:
        identities = [x25519.generate().identity, pair.identity]
        assert_same(seal.read(tmp_path / "m", identities=identities, allow_unsigned=True), payload)


def test_any_named_signer_is_enough(tmp_path: Path, payload: seal.Payload, signer: seal.SigningKey) -> None:
    seal.write(payload, tmp_path / "m", signer=signer)
    signers = [seal.SigningKey.generate().verifying_key, signer.verifying_key]
    assert_same(seal.read(tmp_path / "m", signers=signers), payload)
    assert seal.verify(tmp_path / "m", signers=signers) == seal.inspect(tmp_path / "m").manifest


def test_verify_needs_no_key(tmp_path: Path, payload: seal.Payload, owner: KeyPair, signer: seal.SigningKey) -> None:
    written = seal.write(payload, tmp_path / "m", recipients=[owner.recipient], signer=signer)
    assert seal.verify(tmp_path / "m", signers=[signer.verifying_key]) == written


def test_identity_and_revision_are_kept(tmp_path: Path, payload: seal.Payload) -> None:
    first = seal.write(payload, tmp_path / "1")
    second = seal.write(payload, tmp_path / "2", artifact=first.artifact, revision=2)
    assert (second.artifact, second.revision) == (first.artifact, 2)
    assert seal.write(payload, tmp_path / "3").artifact != first.artifact
    for artifact, revision in [("0" * 31, 1), ("A" * 32, 1), (first.artifact, 0), (first.artifact, 2**53)]:
        with pytest.raises(UsageError, match="wanted 32 hex digits, and a count from 1"):
            seal.write(payload, tmp_path / "4", artifact=artifact, revision=revision)


def test_a_link_to_the_artifact_may_be_opened(tmp_path: Path, payload: seal.Payload) -> None:
    seal.write(payload, tmp_path / "m")
    (tmp_path / "current").symlink_to("m")
    assert_same(seal.read(tmp_path / "current", allow_unsigned=True), payload)


def test_opening_needs_a_key_and_a_signer(
    tmp_path: Path, payload: seal.Payload, owner: KeyPair, signer: seal.SigningKey
) -> None:
    seal.write(payload, tmp_path / "m", recipients=[owner.recipient], signer=signer)
    with pytest.raises(AccessError, match="no signer was named"):
        seal.read(tmp_path / "m", identities=[owner.identity])
    with pytest.raises(AccessError, match="no identity was given"):
        seal.read(tmp_path / "m", signers=[signer.verifying_key])
    with pytest.raises(AccessError, match="no signer was named"):
        seal.verify(tmp_path / "m", signers=[])


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("x")])
def test_what_is_no_directory_is_the_callers_mistake(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "m")
    for act in (seal.inspect, lambda path: seal.read(path, allow_unsigned=True)):
        with pytest.raises(UsageError, match="cannot read artifact"):
            act(tmp_path / "m")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.array(["text"]), "type <U4"),
        (np.array([None]), "type object"),
        (np.zeros(2, np.complex64), "type complex64"),
        (np.zeros((1,) * 33), "33 axes, 32 are allowed"),
    ],
)
def test_tensors_that_cannot_be_stored_are_refused(tmp_path: Path, tensor: np.ndarray, message: str) -> None:
    program = Program(model=b"", tensors={"w": tensor})
    with pytest.raises(UsageError, match=message):
        seal.write(seal.Payload(program=program, header={}, card={}, lineage={}), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["header", "card", "lineage"])
def test_metadata_must_be_json_objects(tmp_path: Path, payload: seal.Payload, field: str) -> None:
    fields = {"header": {}, "card": {}, "lineage": {}}
    with pytest.raises(UsageError, match=f"{field} is a list, wanted a mapping"):
        seal.Payload(program=payload.program, **{**fields, field: []})
    bad = seal.Payload(program=payload.program, **{**fields, field: {"x": float("nan")}})
    with pytest.raises(UsageError, match="not finite"):
        seal.write(bad, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_public_part_say_what_is_wrong(tmp_path: Path, payload: seal.Payload) -> None:
    seal.write(payload, tmp_path / "m")
    header = tmp_path / "m" / "header.bin"
    header.write_bytes(header.read_bytes() + b"!")
    with pytest.raises(IntegrityError, match=r"header\.bin has \d+ bytes, manifest\.json calls for"):
        seal.read(tmp_path / "m", allow_unsigned=True)
