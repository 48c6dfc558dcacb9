"""Servers for tests of the log: one that hands out a folder, and a witness, written from C2SP tlog-witness alone."""

from __future__ import annotations

import base64
import functools
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """Serve with `handler` on loopback; give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def folder_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder."""
    with serving(functools.partial(_Quiet, directory=str(folder))) as address:
        yield address


@dataclass
class Witness:
    """Signs what follows what it saw.

    Args:
        logs: The Ed25519 key of every log that it knows, by origin.
    """

    logs: dict[str, Ed25519PublicKey]
    name: str = "witness.example/w1"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    @property
    def raw(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def verifier(self) -> str:
        data = b"\4" + self.raw
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(data).decode()}"

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n\4" + self.raw).digest()[:4]

    def add(self, body: bytes) -> tuple[int, str, bytes]:
        """Answer one request: status, type, body."""
        self.requests.append(body)
        head, _, note = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size_text, root_text = text.split("\n")[:3]
        old, size, root = int(first.removeprefix("old ")), int(size_text), base64.b64decode(root_text)
        if origin not in self.logs:
            return 404, "text/plain", b""
        if not self._signed(origin, text, signatures):
            return 403, "text/plain", b""
        if old > size:
            return 400, "text/plain", b""
        known, known_root = self.seen.get(origin, (0, b""))
        if old != known or (old == size and known and root != known_root):
            return 409, "text/x.tlog.size", f"{known}\n".encode()
        proof = [base64.b64decode(line) for line in lines]
        if known and not follows(known, size, known_root, root, proof):
            return 422, "text/plain", b""
        self.seen[origin] = size, root
        return 200, "text/plain", self._cosign(text)

    def _signed(self, origin: str, text: str, signatures: str) -> bool:
        for line in signatures.splitlines():
            _, name, encoded = line.split(" ")
            if name == origin:
                try:
                    self.logs[origin].verify(base64.b64decode(encoded)[4:], text.encode())
                except InvalidSignature:
                    continue
                return True
        return False

    def _cosign(self, text: str) -> bytes:
        now = int(time.time())
        signature = self.key.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        encoded = base64.b64encode(self.key_id + now.to_bytes(8, "big") + signature).decode()
        return f"\N{EM DASH} {self.name} {encoded}\n".encode()


def follows(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Whether a consistency proof holds, by the recursion of RFC 6962, section 2.1.2, read backwards."""
    rest = list(reversed(proof))  # the last hash belongs to the root's child

    def roots(count: int, size: int, whole: bool) -> tuple[bytes, bytes]:
        if count == size:
            root = old_root if whole else rest.pop()
            return root, root
        half = 1
        while 2 * half < size:
            half *= 2
        other = rest.pop(0)
        if count <= half:
            before, after = roots(count, half, whole)
            return before, hashlib.sha256(b"\1" + after + other).digest()
        before, after = roots(count - half, size - half, False)
        return (hashlib.sha256(b"\1" + other + before).digest(), hashlib.sha256(b"\1" + other + after).digest())

    try:
        before, after = roots(old, new, True)
    except IndexError:
        return False
    return not rest and (before, after) == (old_root, new_root)


@contextmanager
def witness_server(witness: Witness) -> Iterator[str]:
    """Serve a witness."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, kind, answer = witness.add(body) if self.path == "/add-checkpoint" else (404, "text/plain", b"")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address


@contextmanager
def answering(status: int, body: bytes = b"", **headers: str) -> Iterator[tuple[str, list[Any]]]:
    """Serve one answer to everything; give the address, and the requests that came."""
    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append((self.path, dict(self.headers)))
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address, came


@contextmanager
def raw(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve every connection with `talk`."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)
