"""Logs and witnesses on real servers: reading, submitting, and servers that are slow, wordy or hostile."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from intact import ledger
from intact.crypto import Secret
from intact.errors import AccessError, IntegrityError, UsageError
from intact.ledger import NoteKey, TiledLog, folder, web
from support.ledgers import MemoryLog, answer
from support.log_servers import Witness, answering, folder_server, raw, witness_server


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return MemoryLog().fill(600)


def witness_of(log: MemoryLog) -> Witness:
    return Witness(logs={log.origin: log.key.key.public_key()})  # type: ignore[dict-item]


def seen(log: MemoryLog, witness: Witness, size: int) -> ledger.Note:
    """Have the log's state at `size` signed by the witness, over HTTP."""
    with witness_server(witness) as address, web.Server(address) as server:
        return ledger.submit(log.signed(size), log, NoteKey.from_text(witness.verifier), server.post)


# ---- a served log


def test_a_served_log_is_checked_over_http(log: MemoryLog, tmp_path: Path) -> None:
    folder.export(tmp_path / "some" / "log", log.note(), 600, log)
    with folder_server(tmp_path) as address, web.Server(f"{address}/some/log/") as server:
        signed = ledger.read_checkpoint(ledger.newest_checkpoint(server.get), log.key.verifying_key)
        reader = TiledLog(fetch=server.get, size=600)
        ledger.check_log(signed.checkpoint, reader)
        ledger.check_grown(log.signed(77).checkpoint, signed.checkpoint, reader)


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    with folder_server(tmp_path) as address, web.Server(address) as server:
        assert server.get("tile/0/000", 100) is None
        with pytest.raises(UsageError, match="no log"):
            ledger.newest_checkpoint(server.get)


@pytest.mark.parametrize("status", [401, 403])
def test_a_log_that_is_not_for_everybody(status: int) -> None:
    with answering(status) as (address, came), web.Server(address, key=Secret(b"intact_x")) as server:
        with pytest.raises(AccessError, match="does not let this caller"):
            server.get("checkpoint", 100)
        assert came[0][1]["Authorization"] == "Bearer intact_x"


def test_an_answer_that_is_cut_is_no_tile(log: MemoryLog) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n" + b"x" * 100)

    with raw(talk) as address, web.Server(address, timeout_s=5) as server, pytest.raises((UsageError, IntegrityError)):
        ledger.check_log(log.signed().checkpoint, TiledLog(fetch=server.get, size=600))


def test_a_connection_that_was_closed_meanwhile_is_made_again(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with raw(talk) as address, web.Server(address) as server:
        assert [server.get("checkpoint", 100) for _ in range(3)] == [b"ok"] * 3


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with web.Server(f"http://127.0.0.1:{port}") as server, pytest.raises(UsageError, match="cannot be asked"):
        server.get("checkpoint", 100)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a/b",
        "file:///etc/passwd",
        "http://",
        "http://a:b@c/",
        "http://a/?q",
        "http://a/#f",
        "http://a:x/",
        "http://[/",
        "http://a\n/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no URL"):
        web.Server(url)


def test_a_key_is_sent_encrypted_or_to_this_machine() -> None:
    for url in ("https://example.com/log", "http://127.0.0.1/", "http://[::1]:80/", "http://localhost/"):
        web.Server(url, key=Secret(b"k"))
    with pytest.raises(UsageError, match="unencrypted"):
        web.Server("http://example.com/log", key=Secret(b"k"))


# ---- witnesses


def test_a_witness_signs_a_log_that_grows(log: MemoryLog) -> None:
    witness = witness_of(log)
    key = NoteKey.from_text(witness.verifier)
    for size in (1, 5, 5, 256, 300, 600):
        note = seen(log, witness, size)
        signed = ledger.read_checkpoint(str(note).encode(), log.key.verifying_key, witnesses=[key])
        assert signed.checkpoint.size == size
        assert abs(signed.seen[key] - time.time()) < 60
    assert witness.seen[log.origin] == (600, log.root())


def test_a_line_of_the_same_witness_is_replaced(log: MemoryLog) -> None:
    witness = witness_of(log)
    key = NoteKey.from_text(witness.verifier)
    signed = ledger.read_checkpoint(str(seen(log, witness, 5)).encode(), log.key.verifying_key)
    with witness_server(witness) as address, web.Server(address) as server:
        note = ledger.submit(signed, log, key, server.post)
    assert len(note.lines) == 2


def test_a_witness_does_not_sign_a_rewritten_log(log: MemoryLog) -> None:
    witness = witness_of(log)
    seen(log, witness, 300)
    forged = MemoryLog(key=log.key).fill(100)
    forged.append(answer(9999))
    forged.fill(400)
    with pytest.raises(IntegrityError, match="does not follow"):
        seen(forged, witness, 400)
    with pytest.raises(IntegrityError, match="does not follow"):
        seen(forged, witness, 300)
    assert witness.seen[log.origin] == (300, log.root(300))


def test_a_cut_log_is_noticed_by_its_witness(log: MemoryLog) -> None:
    witness = witness_of(log)
    seen(log, witness, 300)
    with pytest.raises(IntegrityError, match="has seen 300 entries"):
        seen(log, witness, 200)


def test_a_witness_that_does_not_know_the_log(log: MemoryLog) -> None:
    for known in ({}, {log.origin: Ed25519PrivateKey.generate().public_key()}):
        with pytest.raises(AccessError, match="does not know this log"):
            seen(log, Witness(logs=known), 5)


def test_another_witness_line_is_not_taken(log: MemoryLog) -> None:
    witness, other = witness_of(log), witness_of(log)
    key = NoteKey.from_text(other.verifier)
    with (
        witness_server(witness) as address,
        web.Server(address) as server,
        pytest.raises(AccessError, match="not seen"),
    ):
        ledger.submit(log.signed(5), log, key, server.post)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", UsageError),
        (409, b"x\n", UsageError),
        (409, b"9" * 30 + b"\n", UsageError),
        (200, b"\xff", IntegrityError),
        (200, b"nonsense\n", IntegrityError),
        (200, b"x" * 20_000, UsageError),
    ],
)
def test_what_is_no_answer_of_a_witness(log: MemoryLog, status: int, body: bytes, error: type[Exception]) -> None:
    key = NoteKey.from_text(witness_of(log).verifier)
    with answering(status, body) as (address, _), web.Server(address) as server, pytest.raises(error):
        ledger.submit(log.signed(5), log, key, server.post)


def test_a_key_that_is_no_witness_is_refused(log: MemoryLog) -> None:
    key = ledger.CheckpointSigner(key=log.key, origin=log.origin).verifier
    with web.Server("http://127.0.0.1:9") as server, pytest.raises(UsageError, match="not one of a witness"):
        ledger.submit(log.signed(5), log, key, server.post)
