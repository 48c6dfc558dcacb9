"""Who has no key of the log, and wants receipts, checkpoints or proofs that are accepted; or wants to read the log."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from intact import ledger
from intact.crypto import SigningKey
from intact.errors import AccessError, IntactError, IntegrityError
from intact.ledger import Checkpoint, NoteKey, Receipt, folder, note, read_receipt
from intact.ledger.receipt import PAYLOAD_TYPE
from intact.wire import encode
from support.ledgers import ORIGIN, MemoryLog, answer

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
RECEIPT = Receipt(event=answer(), origin=ORIGIN, index=0, salt=b"s" * 32)


def enveloped(payload: bytes, signature: bytes) -> bytes:
    """A receipt with any signature under the name of the log's key."""
    text = [base64.b64encode(each).decode() for each in (payload, signature)]
    signatures = [{"keyid": KEY.verifying_key.key_id, "sig": text[1]}]
    return encode({"payload": text[0], "payloadType": PAYLOAD_TYPE, "signatures": signatures})


def flipped(data: bytes) -> list[bytes]:
    """`data` with every bit changed, one at a time."""
    return [
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]


def test_every_flipped_bit_of_a_receipt_is_refused() -> None:
    for forged in flipped(ledger.issue(RECEIPT, KEY)):
        with pytest.raises((IntegrityError, AccessError)):
            read_receipt(forged, [KEY.verifying_key])


def test_every_flipped_bit_of_a_checkpoint_is_refused() -> None:
    log = MemoryLog(key=KEY).fill(3)
    for forged in flipped(log.note().encode()):
        with pytest.raises((IntegrityError, AccessError)):
            ledger.read_checkpoint(forged, NoteKey.of(KEY.verifying_key, ORIGIN))


def test_every_flipped_bit_of_a_proof_is_refused() -> None:
    log = MemoryLog(key=KEY).fill(2)
    receipt = read_receipt(log.append(answer(2)), [KEY.verifying_key])
    for forged in flipped(ledger.prove(receipt, log.signed().checkpoint, log.note(), log).to_text().encode()):
        with pytest.raises((IntegrityError, AccessError)):
            ledger.check_proof(receipt, ledger.read_proof(forged), KEY.verifying_key)


def test_a_key_of_ones_own_is_refused() -> None:
    own = SigningKey.generate()
    with pytest.raises(AccessError):
        read_receipt(ledger.issue(RECEIPT, own), [KEY.verifying_key])
    value = json.loads(ledger.issue(RECEIPT, own))
    value["signatures"][0]["keyid"] = KEY.verifying_key.key_id
    with pytest.raises(IntegrityError, match="does not verify"):
        read_receipt(encode(value), [KEY.verifying_key])


def test_a_signature_for_another_purpose_is_no_receipt() -> None:
    """The owner's key also signs models (DSSE of another type), and the log's its checkpoints (no DSSE at all)."""
    payload = base64.b64decode(json.loads(ledger.issue(RECEIPT, KEY))["payload"])
    checkpoint = Checkpoint(origin=ORIGIN, size=1, root=b"r" * 32)
    signature = note.sign(checkpoint.text, KEY, ORIGIN).lines[0].signature
    others = [
        enveloped(payload, KEY.sign("application/vnd.in-toto+json", payload)),
        enveloped(checkpoint.text.encode(), signature),
        enveloped(payload, signature),
    ]
    for envelope in others:
        with pytest.raises(IntegrityError, match="does not verify"):
            read_receipt(envelope, [KEY.verifying_key])


def test_a_signature_for_another_purpose_is_no_checkpoint() -> None:
    """No text can be signed as a receipt or a cosignature and pass as a checkpoint: its first line is no such name."""
    for origin in ("DSSEv1", "cosignature/v1"):
        with pytest.raises(IntactError):
            note.sign(Checkpoint(origin=origin, size=1, root=b"r" * 32).text, KEY, origin)
    data = KEY.sign(PAYLOAD_TYPE, b"payload")
    public = NoteKey.of(KEY.verifying_key, ORIGIN)
    text = Checkpoint(origin=ORIGIN, size=1, root=b"r" * 32).text
    forged = note.Note(text=text, lines=(note.Line(name=ORIGIN, id=public.id, signature=data),))
    with pytest.raises(IntegrityError, match="does not verify"):
        ledger.read_checkpoint(str(forged).encode(), KEY.verifying_key)


def test_a_witness_cannot_sign_for_the_log() -> None:
    """One key under two types is two keys, whose messages differ."""
    text = Checkpoint(origin=ORIGIN, size=1, root=b"r" * 32).text
    assert isinstance(KEY.key, Ed25519PrivateKey)
    signature = bytes(8) + KEY.key.sign(b"cosignature/v1\ntime 0\n" + text.encode())
    log_key, witness_key = (NoteKey.of(KEY.verifying_key, ORIGIN, witnesses=each) for each in (False, True))
    assert log_key.id != witness_key.id
    for key in (log_key, witness_key):
        line = note.Line(name=ORIGIN, id=key.id, signature=signature)
        data = str(note.Note(text=text, lines=(line,))).encode()
        with pytest.raises((IntegrityError, AccessError)):
            ledger.read_checkpoint(data, log_key)


def test_a_checkpoint_of_another_log_of_the_same_keeper_is_refused() -> None:
    one, other = MemoryLog(key=KEY).fill(1), MemoryLog(key=KEY, origin="other.example/log").fill(1)
    with pytest.raises(AccessError, match="not of"):
        ledger.read_checkpoint(other.note().encode(), NoteKey.of(KEY.verifying_key, ORIGIN))
    receipt = read_receipt(one.append(answer(1)), [KEY.verifying_key])
    with pytest.raises(IntegrityError, match="receipt is of log"):
        ledger.prove(receipt, other.signed().checkpoint, other.note(), other)


def test_what_the_receipt_names_is_checked_by_its_key_only() -> None:
    """The key's kind follows from the key that the reader named, never from the receipt."""
    other = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    value = json.loads(ledger.issue(RECEIPT, other))
    value["signatures"][0]["keyid"] = KEY.verifying_key.key_id
    with pytest.raises(IntegrityError):
        read_receipt(encode(value), [KEY.verifying_key, other.verifying_key])


def test_the_log_says_nothing_of_what_happened(tmp_path: Path) -> None:
    """Who has all that is exported, and guesses an event to the last byte, still cannot tell whether it happened."""
    log = MemoryLog(key=KEY).fill(5)
    folder.export(tmp_path, log.note(), 5, log)
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    guess = answer(3).encode()
    for salt in (b"", bytes(32)):
        entry = hashlib.sha256(salt + guess).digest()
        assert entry not in everything
        assert ledger.leaf_hash(entry) not in everything
    assert log.entries[3] in everything


@given(st.binary(max_size=400))
def test_noise_is_refused_and_nothing_else_happens(data: bytes) -> None:
    public = KEY.verifying_key
    receipt = Receipt(event=answer(), origin=ORIGIN, index=0, salt=bytes(32))
    for read in (
        lambda: read_receipt(data, [public]),
        lambda: read_receipt(ledger.from_header(data.decode("latin-1")), [public]),
        lambda: ledger.read_checkpoint(data, public),
        lambda: ledger.check_proof(receipt, ledger.read_proof(data), public),
        lambda: ledger.Event.decode(data),
        lambda: ledger.decode_entries(data, 256),
        lambda: NoteKey.from_text(data.decode("latin-1")),
    ):
        with pytest.raises(IntactError):
            read()


def test_long_things_are_refused_before_they_are_read() -> None:
    long = b"[" * 10**7
    for read in (
        lambda: read_receipt(long, [KEY.verifying_key]),
        lambda: ledger.from_header("A" * 10**7),
        lambda: ledger.read_checkpoint(long, KEY.verifying_key),
        lambda: ledger.read_proof(long),
        lambda: ledger.Event.decode(long),
    ):
        with pytest.raises(IntegrityError):
            read()
