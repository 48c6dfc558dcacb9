"""A small server of the transit engine of Vault, over TLS, that follows its documented HTTP interface."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

TOKEN = "hvs.token-of-the-tests"


@dataclass(kw_only=True)
class Transit:
    """The server's state.

    Args:
        address: Where it listens.
        authority: File of the certificate that vouches for it.
        keys: Key material by mount and name.
        paths: What it was asked, in order.
        answer: A status and body to give whatever is asked; None to work.
    """

    address: str = ""
    authority: Path = Path()
    keys: dict[tuple[str, str], bytes] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    answer: tuple[int, dict[str, Any]] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": TOKEN, "VAULT_CACERT": str(self.authority)}

    def respond(self, path: str, token: str | None, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to a POST."""
        self.paths.append(path)
        if self.answer is not None:
            return self.answer
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        found = re.fullmatch(r"/v1/(.+)/(encrypt|decrypt)/([^/]+)", path)
        key = self.keys.get((found[1], found[3])) if found else None
        if found is None or key is None:
            return 404, {"errors": ["no handler for route"]}
        extra = base64.b64decode(body.get("associated_data", ""))
        if found[2] == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + AESGCM(key).encrypt(nonce, base64.b64decode(body["plaintext"]), extra)
            return 200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}}
        try:
            sealed = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], extra)
        except (InvalidTag, ValueError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


@contextmanager
def transit(folder: Path) -> Iterator[Transit]:
    """Run a server until the block ends; its certificate goes to `folder`."""
    state = Transit()
    state.keys["transit", "models"] = os.urandom(32)
    state.authority, chain = _certificates(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = state.respond(self.path, self.headers.get("X-Vault-Token"), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status in (301, 307):
                self.send_header("Location", answer["location"])
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that do not trust the certificate."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.address = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Return files of an authority's certificate, and of key and certificate of a server on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    authority = _certificate(issuer, issuer, authority_key, authority_key, x509.BasicConstraints(True, 0))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = _certificate(subject, issuer, key, authority_key, here)
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return folder / "authority.pem", folder / "server.pem"


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(authority, critical=False).sign(signer, hashes.SHA256())
