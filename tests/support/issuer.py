"""An OIDC issuer on loopback: a real server, over HTTPS, that signs with keys of its own."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

AUDIENCE = "intact"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    made = made.not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = made.add_extension(addresses, critical=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@dataclass
class Issuer:
    """What the issuer says, and how often it was asked; a test changes it as it likes."""

    url: str
    ca_file: Path
    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    discovery: dict[str, Any] | None = None
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None
    private: dict[str, Any] = field(default_factory=dict, repr=False)

    def new_key(self, kid: str, kind: str = "RS256", **more: Any) -> None:
        """Make a key, and publish it."""
        if kind.startswith(("RS", "PS")):
            self.private[kid] = rsa.generate_private_key(65537, more.pop("bits", 2048))
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.private[kid].public_key(), as_dict=True)
        else:
            self.private[kid] = ec.generate_private_key(ec.SECP256R1())
            jwk = jwt.algorithms.ECAlgorithm.to_jwk(self.private[kid].public_key(), as_dict=True)
        self.keys.append({**jwk, "kid": kid, "use": "sig", "alg": kind, **more})

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return good claims, changed; what is None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, **changed}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
        """Sign a token with the key `kid`."""
        return jwt.encode(
            self.claims(**changed), self.private[kid], algorithm=algorithm, headers={"kid": kid, **(headers or {})}
        )


@contextlib.contextmanager
def issuer(folder: Path, *, tls: bool = True) -> Iterator[Issuer]:
    """Run an issuer that has no keys yet."""
    cert, key = certificate(folder)
    state: Issuer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            if state.answer is not None:
                state.answer(self)
                return
            place = state.discovery or {"issuer": state.url, "jwks_uri": f"{state.url}/keys"}
            found = {"/.well-known/openid-configuration": place, "/keys": {"keys": state.keys}}.get(self.path)
            content = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is no error."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    state = Issuer(url=f"{scheme}://127.0.0.1:{server.server_address[1]}", ca_file=cert)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
