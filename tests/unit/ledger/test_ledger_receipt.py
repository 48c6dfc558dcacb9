"""Receipts: what is signed, what comes back, and that nothing in one can be changed."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from intact.crypto import SigningKey
from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger import Issuer, Receipt, from_header, issue, leaf_hash, read_receipt, to_header
from intact.ledger.receipt import LIMIT_BYTES, PAYLOAD_TYPE
from intact.wire import encode
from support.ledgers import ORIGIN, answer

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
SALT = bytes(range(32))
RECEIPT = Receipt(event=answer(nonce="n"), origin=ORIGIN, index=7, salt=SALT)
ENVELOPE = issue(RECEIPT, KEY)


def enveloped(payload: bytes, kind: str = PAYLOAD_TYPE, key: SigningKey = KEY) -> bytes:
    """Any payload, rightly signed."""
    signatures = [{"keyid": key.verifying_key.key_id, "sig": base64.b64encode(key.sign(kind, payload)).decode()}]
    return encode({"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures})


def test_a_receipt_comes_back() -> None:
    found = read_receipt(ENVELOPE, [SigningKey.generate().verifying_key, KEY.verifying_key])
    assert found.event.encode() == RECEIPT.event.encode()
    assert (found.origin, found.index, found.salt) == (ORIGIN, 7, SALT)
    assert leaf_hash(found.entry) == leaf_hash(RECEIPT.entry)


def test_another_librarys_dsse_verifies_it() -> None:
    envelope = Envelope.from_dict(json.loads(ENVELOPE))
    key = SSlibKey.from_crypto(KEY.key.public_key(), keyid=KEY.verifying_key.key_id)
    assert envelope.verify([key], 1)
    assert json.loads(envelope.payload)["log"] == {"index": 7, "origin": ORIGIN, "salt": SALT.hex()}


def test_the_envelope_is_canonical() -> None:
    assert ENVELOPE == encode(json.loads(ENVELOPE)) == enveloped(base64.b64decode(json.loads(ENVELOPE)["payload"]))
    assert Issuer(key=KEY, origin=ORIGIN).issue(RECEIPT.event.encode(), 7, SALT) == ENVELOPE


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=50),
    st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="+"), min_size=1, max_size=50),
    st.integers(0, 2**53 - 2),
    st.binary(min_size=32, max_size=32),
)
def test_read_undoes_issue(subject: str, origin: str, index: int, salt: bytes) -> None:
    receipt = Receipt(event=answer(subject=subject), origin=origin, index=index, salt=salt)
    found = read_receipt(issue(receipt, KEY), [KEY.verifying_key])
    assert found == Receipt(event=found.event, origin=origin, index=index, salt=salt)
    assert found.event.encode() == receipt.event.encode()


def test_ecdsa_keys_sign_receipts_too() -> None:
    key = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    assert read_receipt(issue(RECEIPT, key), [key.verifying_key]).index == 7


def test_the_header_form_comes_back() -> None:
    header = to_header(ENVELOPE)
    assert header.isascii()
    assert from_header(header) == ENVELOPE
    assert len(header) < 4096, "fits the headers of common proxies"


@pytest.mark.parametrize("text", ["*", "AAAB=", "AA==\n", "é", "A" * (2 * LIMIT_BYTES + 1)])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        from_header(text)


def test_a_strangers_receipt_is_refused() -> None:
    with pytest.raises(AccessError, match="not named"):
        read_receipt(ENVELOPE, [SigningKey.generate().verifying_key])
    with pytest.raises(AccessError):
        read_receipt(ENVELOPE, [])


def test_every_truncation_and_extension_is_refused() -> None:
    for length in range(len(ENVELOPE)):
        with pytest.raises(IntegrityError):
            read_receipt(ENVELOPE[:length], [KEY.verifying_key])
    for more in (b" ", b"\n", b"{}", b"\0"):
        with pytest.raises(IntegrityError):
            read_receipt(ENVELOPE + more, [KEY.verifying_key])


def test_a_signature_of_another_type_is_refused() -> None:
    payload = base64.b64decode(json.loads(ENVELOPE)["payload"])
    other = json.loads(enveloped(payload, kind="application/vnd.in-toto+json"))
    with pytest.raises(IntegrityError):
        read_receipt(encode(other), [KEY.verifying_key])
    with pytest.raises(IntegrityError, match="does not verify"):
        read_receipt(encode({**other, "payloadType": PAYLOAD_TYPE}), [KEY.verifying_key])


def log_of(**changes: object) -> dict[str, object]:
    value = {"index": 7, "origin": ORIGIN, "salt": SALT.hex(), **changes}
    return {name: each for name, each in value.items() if each is not None}


EVENT = json.loads(RECEIPT.event.encode())


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {"event": EVENT},
        {"event": EVENT, "log": log_of(), "more": 1},
        {"event": {}, "log": log_of()},
        {"event": EVENT, "log": log_of(index=-1)},
        {"event": EVENT, "log": log_of(index="7")},
        {"event": EVENT, "log": log_of(index=True)},
        {"event": EVENT, "log": log_of(origin="a b")},
        {"event": EVENT, "log": log_of(origin=5)},
        {"event": EVENT, "log": log_of(salt="AB" * 32)},
        {"event": EVENT, "log": log_of(salt="ab")},
        {"event": EVENT, "log": log_of(salt=None)},
        {"event": EVENT, "log": []},
    ],
)
def test_what_is_no_receipt_is_refused_though_signed(payload: object) -> None:
    with pytest.raises(IntegrityError):
        read_receipt(enveloped(encode(payload)), [KEY.verifying_key])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100, b"\xff", b"x" * (LIMIT_BYTES + 1)])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_receipt(data, [KEY.verifying_key])


@pytest.mark.parametrize("signatures", [[], [1], [{"keyid": 1, "sig": "AA=="}], "x", [{"sig": "AA=="}]])
def test_an_envelope_with_other_signatures_is_refused(signatures: object) -> None:
    with pytest.raises(IntegrityError):
        read_receipt(encode({**json.loads(ENVELOPE), "signatures": signatures}), [KEY.verifying_key])


def test_a_second_signature_is_refused() -> None:
    value = json.loads(ENVELOPE)
    with pytest.raises(IntegrityError, match="one signature"):
        read_receipt(encode({**value, "signatures": value["signatures"] * 2}), [KEY.verifying_key])


def test_an_issuer_needs_a_name_for_the_log_and_shows_no_key() -> None:
    with pytest.raises(UsageError, match="cannot be named"):
        Issuer(key=KEY, origin="a b")
    assert bytes(range(32)).hex() not in repr(Issuer(key=KEY, origin=ORIGIN))
