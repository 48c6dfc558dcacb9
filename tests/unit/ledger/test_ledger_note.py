"""Signed notes and checkpoints: the examples of their specifications, sigstore's reader, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal.rekor.checkpoint import SignedCheckpoint

from intact.crypto import SigningKey
from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger import Checkpoint, CheckpointSigner, NoteKey, read_checkpoint
from intact.ledger import note as notes
from support.ledgers import ORIGIN, MemoryLog

# golang.org/x/mod/sumdb/note, documentation of Open and Sign
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBw"
    "JnAM=\n"
)

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
WITNESS_KEY = NoteKey(name="witness.example/w1", type=notes.WITNESSES, raw=WITNESS.public_key().public_bytes_raw())
LOG_KEY = NoteKey.of(KEY.verifying_key, ORIGIN)
CHECKPOINT = Checkpoint(origin=ORIGIN, size=5, root=b"r" * 32)
NOTE = CheckpointSigner(key=KEY, origin=ORIGIN).sign(5, b"r" * 32)


def cosigned(time_s: int = 1_790_000_000, text: str = CHECKPOINT.text, signs: Ed25519PrivateKey = WITNESS) -> str:
    """A witness' line, written from the specification."""
    signature = signs.sign(f"cosignature/v1\ntime {time_s}\n{text}".encode())
    data = WITNESS_KEY.id + time_s.to_bytes(8, "big") + signature
    return f"\N{EM DASH} {WITNESS_KEY.name} {base64.b64encode(data).decode()}\n"


def with_text(text: str, key: SigningKey = KEY, name: str = ORIGIN) -> bytes:
    """A note of any text, rightly signed."""
    return str(notes.sign(text, key, name)).encode()


def test_the_example_of_gos_package_verifies() -> None:
    key = NoteKey.from_text(PETER)
    assert str(key) == PETER
    assert key in notes.read(PETERS.encode()).check([key])


def test_sigstore_reads_a_checkpoint_as_it_was_written() -> None:
    found = SignedCheckpoint.from_text(NOTE)
    assert (found.checkpoint.origin, found.checkpoint.log_size) == (ORIGIN, 5)
    assert found.checkpoint.log_hash == (b"r" * 32).hex()
    (line,) = found.signed_note.signatures
    assert (line.name, line.sig_hash) == (ORIGIN, LOG_KEY.id)
    KEY.key.public_key().verify(base64.b64decode(line.signature), found.signed_note.note.encode())  # type: ignore[call-arg]


def test_a_checkpoint_comes_back() -> None:
    for key in (KEY.verifying_key, LOG_KEY):
        assert read_checkpoint(NOTE.encode(), key).checkpoint == CHECKPOINT
    assert str(notes.read(NOTE.encode())) == NOTE


def test_an_empty_log_has_a_checkpoint() -> None:
    log = MemoryLog()
    assert log.signed().checkpoint.size == 0
    wrong = Checkpoint(origin=ORIGIN, size=0, root=b"r" * 32)
    with pytest.raises(IntegrityError, match="does not fit its size"):
        read_checkpoint(with_text(wrong.text), KEY.verifying_key)


def test_a_witness_line_is_verified_with_its_time() -> None:
    signed = read_checkpoint((NOTE + cosigned()).encode(), LOG_KEY, witnesses=[WITNESS_KEY])
    assert signed.seen == {WITNESS_KEY: 1_790_000_000}
    assert read_checkpoint((NOTE + cosigned()).encode(), LOG_KEY).seen == {}


def test_a_witness_that_was_asked_for_must_have_signed() -> None:
    with pytest.raises(AccessError, match=r"not seen by 'witness\.example/w1'"):
        read_checkpoint(NOTE.encode(), LOG_KEY, witnesses=[WITNESS_KEY])


@pytest.mark.parametrize(
    "line",
    [
        cosigned(text=CHECKPOINT.text.replace("\n5\n", "\n6\n")),
        cosigned(signs=Ed25519PrivateKey.from_private_bytes(b"o" * 32)),
        cosigned(time_s=2**63),
    ],
    ids=["another text", "another key", "no time"],
)
def test_a_witness_line_that_does_not_hold_spoils_the_note(line: str) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint((NOTE + line).encode(), LOG_KEY, witnesses=[WITNESS_KEY])


def test_a_witness_signature_does_not_count_as_the_logs() -> None:
    """One Ed25519 key under two types is two keys; what is signed differs, too."""
    key = NoteKey(name=WITNESS_KEY.name, type=notes.SIGNS, raw=WITNESS_KEY.raw)
    checkpoint = Checkpoint(origin=WITNESS_KEY.name, size=5, root=b"r" * 32)
    data = f"{checkpoint.text}\n{cosigned(text=checkpoint.text)}".encode()
    with pytest.raises(AccessError):
        read_checkpoint(data, key)


def test_lines_of_unknown_keys_are_ignored() -> None:
    other = SigningKey.generate()
    line = str(notes.sign(CHECKPOINT.text, other, ORIGIN)).partition("\n\n")[2]
    assert read_checkpoint((NOTE + line).encode(), LOG_KEY).checkpoint == CHECKPOINT
    with pytest.raises(AccessError, match="not signed by"):
        read_checkpoint(f"{CHECKPOINT.text}\n{line}".encode(), LOG_KEY)


def test_one_line_of_a_known_key_that_does_not_hold_spoils_the_note() -> None:
    forged = notes.Line(name=ORIGIN, id=LOG_KEY.id, signature=bytes(64))
    for data in (NOTE + str(forged), f"{CHECKPOINT.text}\n{forged}"):
        with pytest.raises(IntegrityError, match="does not verify"):
            read_checkpoint(data.encode(), LOG_KEY)


def test_a_key_with_a_name_accepts_that_log_only() -> None:
    other = with_text(Checkpoint(origin="other.example", size=5, root=b"r" * 32).text, name="other.example")
    assert read_checkpoint(other, KEY.verifying_key).checkpoint.origin == "other.example"
    with pytest.raises(AccessError, match=r"of log 'other\.example', not of"):
        read_checkpoint(other, LOG_KEY)


def test_every_truncation_is_refused() -> None:
    data = NOTE.encode()
    for length in range(len(data)):
        with pytest.raises((IntegrityError, AccessError)):
            read_checkpoint(data[:length], LOG_KEY)


ROOT = base64.b64encode(b"r" * 32).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n05\n{ROOT}\n",
        f"{ORIGIN}\n-5\n{ROOT}\n",
        f"{ORIGIN}\n5.0\n{ROOT}\n",
        f"{ORIGIN}\n٥\n{ROOT}\n",
        f"{ORIGIN}\n9007199254740992\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n5\n{ROOT[:-2]}V=\n",
        f"{ORIGIN}\n5\nAAAA\n",
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n5\n{ROOT}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_though_signed(text: str) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint(with_text(text), KEY.verifying_key)


def test_lines_that_follow_the_third_are_signed_and_say_nothing() -> None:
    assert read_checkpoint(with_text(CHECKPOINT.text + "more\n"), LOG_KEY).checkpoint == CHECKPOINT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n",
        CHECKPOINT.text.encode() + b"\n",
        NOTE.encode()[:-1],
        NOTE.encode().replace(b"\n\n", b"\r\n\n"),
        NOTE.encode() + b"\n",
        NOTE.encode() + b"- a AAAAAAA=\n",
        NOTE.encode() + "\N{EM DASH} a AAAA\n".encode(),
        NOTE.encode() + "\N{EM DASH} a b AAAAAAA=\n".encode(),
        NOTE.encode() + "\N{EM DASH} a AAAAAAB=\n".encode(),
        NOTE.encode() + "\N{EM DASH} a AAAAAAA=\n".encode() * 64,
        NOTE.encode() + b"x" * 2**16,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        notes.read(data)


@given(st.binary(max_size=300))
def test_noise_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_checkpoint(data, LOG_KEY)


def test_a_text_may_have_empty_lines() -> None:
    text = "a\n\nb\n\n"
    found = notes.read(str(notes.sign(text, KEY, "a")).encode())
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        PETER[:-4],
        PETER.replace("c74f20a3", "c74f20a4"),
        PETER.replace("PeterNeumann", "Peter Neumann"),
        PETER.replace("+ARpc", "+AxpC"),
        PETER + "=",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="verifier key"):
        NoteKey.from_text(text)


@pytest.mark.parametrize(
    "origin", ["", "a b", "a+b", "a\u00a0b", "a\nb", "x" * 201, "cosignature/v1", "DSSEv1", "DSSEv1x"]
)
def test_what_cannot_name_a_log_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="cannot be named"):
        CheckpointSigner(key=KEY, origin=origin)


def test_other_kinds_of_keys_sign_no_log() -> None:
    key = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(UsageError, match="Ed25519"):
        CheckpointSigner(key=key, origin=ORIGIN)
    with pytest.raises(UsageError, match="Ed25519"):
        read_checkpoint(NOTE.encode(), key.verifying_key)


def test_a_key_goes_without_its_name() -> None:
    assert LOG_KEY.verifying_key.key_id == KEY.verifying_key.key_id
    assert NoteKey.of(KEY.verifying_key, "w.example", witnesses=True).witnesses
