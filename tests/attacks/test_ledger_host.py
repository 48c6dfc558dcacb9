"""The host of a served log, and whoever sits between: wants to stall, exhaust or mislead its readers."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from intact import ledger
from intact.crypto import Secret
from intact.errors import IntegrityError, UsageError
from intact.ledger import Checkpoint, CheckpointSigner, TiledLog, web
from support.ledgers import MemoryLog, answer
from support.log_servers import answering, folder_server, raw
from support.transit import _certificates as certificates


def drip(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(head)
        for _ in range(40):
            connection.sendall(drop)
            time.sleep(0.05)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drip(b"", b""),
    ],
    ids=["body", "headers", "nothing"],
)
def test_a_server_that_drips_is_left_in_time(talk: Callable[[socket.socket], None]) -> None:
    with raw(talk) as address, web.Server(address, timeout_s=0.5) as server:
        begin = time.monotonic()
        with pytest.raises(UsageError, match="cannot be asked"):
            server.get("checkpoint", 2000)
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6,
    ],
    ids=["nothing", "nonsense", "many headers", "long header"],
)
def test_a_server_that_speaks_no_http_is_named(said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    with (
        raw(talk) as address,
        web.Server(address, timeout_s=5) as server,
        pytest.raises(UsageError, match="cannot be asked"),
    ):
        server.get("checkpoint", 100)


def test_no_redirection_is_followed() -> None:
    with answering(200, b"elsewhere") as (elsewhere, came), answering(302, Location=elsewhere) as (address, _):
        with web.Server(address, key=Secret(b"intact_x")) as server, pytest.raises(UsageError, match="status 302"):
            server.get("checkpoint", 100)
        assert came == []


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, b"proxy") as (proxy, came), answering(200, b"log") as (address, _):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy)
        with web.Server(address) as server:
            assert server.get("checkpoint", 100) == b"log"
        assert came == []


def test_a_compressed_answer_is_refused() -> None:
    with (
        answering(200, b"bomb", Content_Encoding="gzip") as (address, came),
        web.Server(address) as server,
        pytest.raises(UsageError, match="cannot be asked"),
    ):
        server.get("checkpoint", 100)
    assert came[0][1]["Accept-Encoding"] == "identity"


def test_no_more_is_read_than_was_allowed(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 10_000_000)
    (tmp_path / "small").write_bytes(b"y")
    with folder_server(tmp_path) as address, web.Server(address) as server:
        assert server.get("large", 100) == b"x" * 101
        assert server.get("small", 100) == b"y", "and what follows is not mistaken for the next answer"


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority, chain = certificates(tmp_path)
    context.load_cert_chain(chain)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with raw(talk) as address:
        url = address.replace("http:", "https:")
        with web.Server(url, key=Secret(b"k")) as server, pytest.raises(UsageError, match="SSLCertVerificationError"):
            server.get("checkpoint", 100)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with web.Server(url, key=Secret(b"k")) as server:
            assert server.get("checkpoint", 100) == b"ok"


def test_a_log_that_claims_to_be_huge_costs_nothing() -> None:
    log = MemoryLog().fill(3)
    size = 2**53 - 1
    note = CheckpointSigner(key=log.key, origin=log.origin).sign(size, b"r" * 32)
    signed = ledger.read_checkpoint(note.encode(), log.key.verifying_key)
    receipt = ledger.read_receipt(log.append(answer(3)), [log.key.verifying_key])
    asked: list[str] = []

    def fetch(path: str, limit_bytes: int) -> bytes:
        asked.append(path)
        return bytes(limit_bytes)

    reader = TiledLog(fetch=fetch, size=size)
    since = Checkpoint(origin=log.origin, size=3, root=log.root(3))
    for check in (
        lambda: ledger.check_log(signed.checkpoint, reader),
        lambda: ledger.check_grown(since, signed.checkpoint, reader),
        lambda: ledger.prove(receipt, signed.checkpoint, note, reader),
    ):
        with pytest.raises(IntegrityError):
            check()
    assert len(asked) < 50


def test_a_host_cannot_make_a_reader_ask_for_other_paths() -> None:
    """What is asked for follows from sizes that were signed; a path of a stranger's is none."""
    for path in ("tile/../../etc/passwd", "tile/0/../../x", "tile//0/000", "tile/0/%2e%2e/000", "tile/0/000\0"):
        assert ledger.parse_path(path) is None
