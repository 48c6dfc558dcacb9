"""Signatures: the OpenSSF tool's form, countersignatures, certificates, and how many signers a reader wants."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from intact import seal
from intact.crypto import Authority, CertifiedKey, SigningKey, sha256
from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal import bundle, signing, statement
from intact.seal.signing import check
from intact.wire import encode
from support.certificates import certificate, p256, pem

MANIFEST = b'{"some": "manifest"}'
NAMES = {"manifest.json", "lineage.json", "header.bin", "weights.safetensors", "model.sig"}


def payload(manifest: bytes = MANIFEST, names: set[str] = NAMES) -> bytes:
    digests = {name: sha256(name.encode()) for name in names - {"model.sig"}}
    return statement.write("m", {**digests, "manifest.json": sha256(manifest)})


def accept(*bundles: bundle.Bundle, signers: Any, allow_unsigned: bool = False, **more: Any) -> frozenset[str]:
    return check(bundles, MANIFEST, NAMES, signers, allow_unsigned=allow_unsigned, **more).signers


A, B, C = SigningKey.generate(), p256(), SigningKey.generate()
PUBLIC_A, PUBLIC_B, PUBLIC_C = (key.verifying_key for key in (A, B, C))
SIGNED = {key: signing.sign(payload(), key) for key in (A, B, C)}


@pytest.mark.parametrize("key", [A, B], ids=["Ed25519", "P-256"])
def test_a_signature_by_a_named_key_is_accepted_in_any_spelling(key: SigningKey) -> None:
    made = SIGNED[key]
    for data in (made.to_bytes(), json.dumps(made.to_json(), indent=2).encode()):
        assert accept(bundle.read(data), signers=[key.verifying_key]) == {key.verifying_key.key_id}


def test_a_signature_that_does_not_say_whose_it_is_is_tried_with_every_key() -> None:
    made = bundle.from_json({**SIGNED[A].to_json(), "verificationMaterial": {"tlogEntries": []}}, "model.sig")
    assert accept(made, signers=[PUBLIC_B, PUBLIC_A]) == {PUBLIC_A.key_id}
    with pytest.raises(AccessError, match="is signed by key"):
        accept(made, signers=[PUBLIC_B, PUBLIC_C])


@pytest.mark.parametrize(
    ("trust", "by", "holds"),
    [
        (seal.any_of(PUBLIC_A, PUBLIC_B), (A,), True),
        (seal.any_of(PUBLIC_A, PUBLIC_B), (C,), False),
        (seal.all_of(PUBLIC_A, PUBLIC_B), (A,), False),
        (seal.all_of(PUBLIC_A, PUBLIC_B), (B, A), True),
        (seal.threshold(2, PUBLIC_A, PUBLIC_B, PUBLIC_C), (C, A), True),
        (seal.threshold(2, PUBLIC_A, PUBLIC_B, PUBLIC_C), (C, C), False),
        (seal.all_of(PUBLIC_A, seal.any_of(PUBLIC_B, PUBLIC_C)), (A, C), True),
        (seal.all_of(PUBLIC_A, seal.any_of(PUBLIC_B, PUBLIC_C)), (B, C), False),
    ],
)
def test_conditions_on_signers_compose(trust: seal.Trust, by: tuple[SigningKey, ...], holds: bool) -> None:
    signed = [SIGNED[key] for key in by]
    if holds:
        assert accept(*signed, signers=trust) == {key.verifying_key.key_id for key in by}
    else:
        with pytest.raises(AccessError, match=r"is signed by (key|1 of|2 of)"):
            accept(*signed, signers=trust)


def test_conditions_that_nobody_or_one_alone_could_meet_are_refused() -> None:
    for make in (seal.any_of, seal.all_of, lambda *of: seal.threshold(0, *of), lambda *of: seal.threshold(3, *of)):
        with pytest.raises(UsageError, match=r"of \d signers are wanted"):
            make(*((PUBLIC_A, PUBLIC_B) if make not in (seal.any_of, seal.all_of) else ()))
    with pytest.raises(UsageError, match="named twice"):
        seal.threshold(2, PUBLIC_A, PUBLIC_A)
    with pytest.raises(UsageError, match="named twice"):
        seal.all_of(PUBLIC_A, seal.any_of(PUBLIC_A, PUBLIC_B))


def test_a_bad_countersignature_by_a_named_key_is_never_overlooked() -> None:
    broken = bundle.from_json({**SIGNED[B].to_json(), "dsseEnvelope": SIGNED[A].to_json()["dsseEnvelope"]}, "x")
    for allow_unsigned in (False, True):
        with pytest.raises(IntegrityError, match="does not verify"):
            accept(SIGNED[A], broken, signers=[PUBLIC_A, PUBLIC_B], allow_unsigned=allow_unsigned)


@pytest.mark.parametrize(
    ("manifest", "names", "told"),
    [
        (b"another", NAMES, "manifest.json is not the file that was signed"),
        (MANIFEST, NAMES - {"lineage.json"}, "lineage.json is not covered"),
        (MANIFEST, NAMES | {"README.md"}, "covers 'README.md', which is not there"),
    ],
)
def test_a_signature_over_another_artifact_is_refused(manifest: bytes, names: set[str], told: str) -> None:
    with pytest.raises(IntegrityError, match=told):
        accept(signing.sign(payload(manifest, names), A), signers=[PUBLIC_A])


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(payload())
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value.update(predicateType="x"), "no model signature"),
        (lambda value: value["predicate"]["serialization"].update(method="shards"), "does not name whole files"),
        (lambda value: value["predicate"].update(resources={}), "no list of files"),
        (lambda value: value.update(subject=[]), "not one subject"),
        (lambda value: value["subject"][0]["digest"].update(sha256="0" * 64), "another root digest"),
        (lambda value: value["predicate"]["resources"][0].update(algorithm="md5"), "wanted blake3 or sha256"),
        (lambda value: value["predicate"]["resources"][0].update(digest="AB" * 32), "without a digest"),
        (lambda value: value["predicate"]["resources"].extend(value["predicate"]["resources"] * 3), "more than the"),
        (
            lambda value: value["predicate"]["resources"].append(value["predicate"]["resources"][0]),
            "names a file twice",
        ),
    ],
)
def test_statements_that_are_not_ours_are_refused(change: Callable[[dict[str, Any]], object], told: str) -> None:
    with pytest.raises(IntegrityError, match=told):
        accept(signing.sign(altered(change), A), signers=[PUBLIC_A])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"mediaType": "x"}',
        b"[" * 60000,
        json.dumps({**SIGNED[A].to_json(), "mediaType": "x"}).encode(),
        json.dumps({**SIGNED[A].to_json(), "dsseEnvelope": {"payloadType": bundle.PAYLOAD_TYPE}}).encode(),
        json.dumps({**SIGNED[A].to_json(), "verificationMaterial": {"publicKey": {"hint": 7}}}).encode(),
        json.dumps({**SIGNED[A].to_json(), "verificationMaterial": {"certificate": {"rawBytes": "%"}}}).encode(),
        json.dumps({**SIGNED[A].to_json(), "verificationMaterial": {"x509CertificateChain": {}}}).encode(),
        json.dumps({**SIGNED[A].to_json(), "more": 1}).encode(),
        json.dumps({**SIGNED[A].to_json(), "verificationMaterial": {"tlogEntries": [{}]}}).encode(),
        SIGNED[A].to_bytes().replace(b'"keyid":""', b'"keyid":"x"'),
        SIGNED[A].to_bytes().replace(b'"publicKey":{', b'"certificate":{"rawBytes":"AAAA"},"publicKey":{'),
        SIGNED[A].to_bytes().replace(b'=="', b'="'),
        SIGNED[A].to_bytes() + b"\n",
        b" " * 2**17,
    ],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="model.sig"):
        bundle.read(data)


def test_countersignatures_are_bounded_in_number() -> None:
    one = SIGNED[A].to_json()
    assert bundle.read_more(encode([one, one])) == (SIGNED[A], SIGNED[A])
    for data in (b"{}", b"[]", encode([one] * 16)):
        with pytest.raises(IntegrityError, match="no list of 1 to 15"):
            bundle.read_more(data)
    with pytest.raises(IntegrityError, match="not canonical"):
        bundle.read_more(b" " + encode([one]))


# ---- certificates


ROOT_KEY, MIDDLE_KEY, LEAF_KEY = p256(), p256(), p256()
ROOT = certificate("root", ROOT_KEY, "root", ROOT_KEY, ca=True)
MIDDLE = certificate("middle", MIDDLE_KEY, "root", ROOT_KEY, ca=True)


def leaf(**more: Any) -> x509.Certificate:
    return certificate("leaf", LEAF_KEY, "middle", MIDDLE_KEY, ca=False, **more)


def certified(*chain: x509.Certificate) -> bundle.Bundle:
    return bundle.read(signing.sign(payload(), CertifiedKey.from_pem(LEAF_KEY, pem(*chain))).to_bytes())


AUTHORITY = Authority.from_pem(pem(ROOT))


def test_a_chain_that_leads_to_the_authority_is_accepted() -> None:
    assert accept(certified(leaf(), MIDDLE), signers=[AUTHORITY]) == {AUTHORITY.key_id}
    trust = seal.all_of(AUTHORITY, PUBLIC_A)
    assert accept(certified(leaf(), MIDDLE), SIGNED[A], signers=trust) == {AUTHORITY.key_id, PUBLIC_A.key_id}


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ((leaf(),), "not accepted"),
        ((leaf(days=(-30, -1)), MIDDLE), "not accepted"),
        ((leaf(days=(5, 30)), MIDDLE), "not accepted"),
        ((leaf(purpose=ExtendedKeyUsageOID.SERVER_AUTH), MIDDLE), "not for code signing"),
        ((leaf(usage={"digital_signature": False}), MIDDLE), "may not be used for signatures"),
        ((leaf(), certificate("middle", MIDDLE_KEY, "root", p256(), ca=True)), "not accepted"),
        ((leaf(), certificate("middle", MIDDLE_KEY, "root", ROOT_KEY, ca=False)), "not accepted"),
    ],
    ids=["no way up", "expired", "too early", "another purpose", "another use", "another root", "no authority between"],
)
def test_chains_that_do_not_are_refused(chain: tuple[x509.Certificate, ...], told: str) -> None:
    with pytest.raises(AccessError, match=told):
        accept(certified(*chain), signers=[AUTHORITY])
    with pytest.raises(AccessError, match="which is not one of the 1 named"):
        accept(certified(*chain), signers=[PUBLIC_A])


def test_a_certified_signature_must_hold_too() -> None:
    made = certified(leaf(), MIDDLE).to_json()
    made["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(B.sign(bundle.PAYLOAD_TYPE, payload())).decode()
    with pytest.raises(IntegrityError, match="does not verify"):
        accept(bundle.from_json(made, "model.sig"), signers=[AUTHORITY])


def test_certificates_that_cannot_be_read_are_refused() -> None:
    made = certified(leaf(), MIDDLE).to_json()
    made["verificationMaterial"]["x509CertificateChain"]["certificates"][0]["rawBytes"] = base64.b64encode(
        b"no"
    ).decode()
    with pytest.raises(IntegrityError, match="cannot be read"):
        accept(bundle.from_json(made, "model.sig"), signers=[AUTHORITY])
    with pytest.raises(UsageError, match="no PEM certificate"):
        Authority.from_pem(b"no")
    with pytest.raises(UsageError, match="of another key"):
        CertifiedKey.from_pem(A, pem(leaf()))


# ---- countersigning


@pytest.fixture
def write(tmp_path: Path, payload: seal.Payload) -> Callable[..., Path]:
    """Write an artifact that is not sealed."""

    def write(signer: SigningKey | None = None) -> Path:
        path = tmp_path / ("signed.intact" if signer else "unsigned.intact")
        seal.write(payload, path, signer=signer)
        return path

    return write


def test_signatures_are_added_to_what_is_there(write: Callable[..., Path]) -> None:
    path = write(signer=A)
    with pytest.raises(AccessError, match="no signer was named"):
        seal.countersign(path, B)
    with pytest.raises(UsageError, match="signed the artifact already"):
        seal.countersign(path, A, signers=[PUBLIC_A])
    assert seal.countersign(path, B, signers=[PUBLIC_A]) == 2
    assert seal.countersign(path, C, signers=seal.all_of(PUBLIC_A, PUBLIC_B)) == 3
    seal.verify(path, signers=seal.all_of(PUBLIC_A, PUBLIC_B, PUBLIC_C))
    assert len(seal.inspect(path).signed_by) == 3
    unsigned = write()
    assert seal.countersign(unsigned, B, allow_unsigned=True) == 1
    seal.verify(unsigned, signers=[PUBLIC_B])


def test_nothing_damaged_is_signed(write: Callable[..., Path]) -> None:
    path = write(signer=A)
    weights = path / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(IntegrityError, match="does not match its digest"):
        seal.countersign(path, B, signers=[PUBLIC_A])
    assert not (path / "countersignatures.json").exists()


# ---- one signer counts once


def test_one_signature_under_two_authorities_counts_once() -> None:
    other_key = p256()
    other_root = certificate("other", other_key, "other", other_key, ca=True)
    cross = certificate("middle", MIDDLE_KEY, "other", other_key, ca=True)
    other = Authority.from_pem(pem(other_root))
    made = certified(leaf(), MIDDLE, cross)
    assert accept(made, signers=[AUTHORITY]) == {AUTHORITY.key_id}
    assert accept(made, signers=[other]) == {other.key_id}
    with pytest.raises(AccessError, match="does not make"):
        accept(made, signers=seal.all_of(AUTHORITY, other))
    assert len(accept(made, SIGNED[A], signers=seal.threshold(2, AUTHORITY, other, PUBLIC_A))) == 3


def test_one_key_counts_once_bare_and_certified() -> None:
    bare = signing.sign(payload(), LEAF_KEY)
    both = seal.all_of(AUTHORITY, LEAF_KEY.verifying_key)
    with pytest.raises(AccessError, match="does not make"):
        accept(bare, certified(leaf(), MIDDLE), signers=both)


def test_an_authority_is_the_same_in_any_order() -> None:
    other_key = p256()
    other = certificate("other", other_key, "other", other_key, ca=True)
    first, second = (Authority.from_pem(pem(*roots)) for roots in ((ROOT, other), (other, ROOT)))
    assert first.key_id == second.key_id
    with pytest.raises(UsageError, match="named twice"):
        seal.threshold(2, first, second)


def test_every_flipped_bit_of_a_certificate_is_refused_by_an_error_of_ours() -> None:
    good = certified(leaf(), MIDDLE)
    for place in range(0, 8 * len(good.certificates[0]), 7):
        data = bytearray(good.certificates[0])
        data[place // 8] ^= 1 << place % 8
        made = replace(good, certificates=(bytes(data), good.certificates[1]))
        with pytest.raises((AccessError, IntegrityError)):
            accept(made, signers=[AUTHORITY])


def test_a_certificate_of_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    made = certificate("leaf", LEAF_KEY, "middle", MIDDLE_KEY, ca=False, public=key.public_key())
    chain = tuple(each.public_bytes(Encoding.DER) for each in (made, MIDDLE))
    with pytest.raises(IntegrityError, match="of a key of another kind"):
        accept(replace(certified(leaf(), MIDDLE), certificates=chain), signers=[AUTHORITY])


@pytest.mark.parametrize(
    "extension",
    [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), x509.NameConstraints([x509.DNSName("a.example")], None)],
    ids=["another purpose", "names of hosts"],
)
def test_an_authority_between_for_something_else_is_refused(extension: x509.ExtensionType) -> None:
    between = certificate("middle", MIDDLE_KEY, "root", ROOT_KEY, ca=True, extension=extension)
    with pytest.raises(AccessError, match="not accepted"):
        accept(certified(leaf(), between), signers=[AUTHORITY])


# ---- what is signed is what was checked


def test_bytes_changed_after_they_were_checked_are_not_signed(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(signer=A)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    sign = signing.sign

    def late(data: bytes, signer: seal.Signer) -> bundle.Bundle:
        for name in ("manifest.json", "lineage.json", "weights.safetensors", "header.bin"):
            with path.joinpath(name).open("r+b") as file:
                file.write(bytes(8))
        return sign(data, signer)

    monkeypatch.setattr(signing, "sign", late)
    seal.countersign(path, B, signers=[PUBLIC_A])
    signed = statement.read(bundle.read_more((path / "countersignatures.json").read_bytes())[0].payload)
    assert {name: each.digest for name, each in signed.items()} == {name: sha256(before[name]) for name in signed}


def test_a_signature_that_somebody_claims_to_be_ours_is_told_as_such(write: Callable[..., Path]) -> None:
    path = write(signer=A)
    false = replace(signing.sign(payload(), C), hint=PUBLIC_B.hint)
    (path / "countersignatures.json").write_bytes(encode([false.to_json()]))
    with pytest.raises(IntegrityError, match="does not verify"):
        seal.countersign(path, B, signers=[PUBLIC_A])
