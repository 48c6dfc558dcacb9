"""Certificates and keys for TLS, checked before the server starts: what is wrong with them has a name."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from intact.errors import UsageError
from intact.serve.settings import Tls


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Material:
    """The files of a `Tls`, read and checked.

    Args:
        tls: Where they are.
        chain: The certificates.
        key: The private key.
        authorities: Those that clients' certificates must be of; None for none.
    """

    tls: Tls
    chain: bytes
    key: bytes
    authorities: bytes | None

    def context(self) -> ssl.SSLContext:
        """Return what Python's TLS needs: 1.2 or later, and clients' certificates where authorities are named."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.tls.certificate, self.tls.key)
        if self.authorities is not None:
            context.load_verify_locations(cadata=self.authorities.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def credentials(self) -> Any:
        """Return what gRPC needs, with the same meaning."""
        import grpc

        pairs = [(self.key, self.chain)]
        wanted = self.authorities is not None
        return grpc.ssl_server_credentials(pairs, self.authorities, require_client_auth=wanted)


def load(tls: Tls, now: datetime | None = None) -> Material:
    """Read the files and check that they can be served with.

    Raises:
        UsageError: One cannot be read or is no PEM, the certificate is not valid now, or the key is of another one.
    """
    chain = _read(tls.certificate, "certificate")
    key = _read(tls.key, "private key")
    authorities = None if tls.client_authorities is None else _read(tls.client_authorities, "clients' authorities")
    (first, *_) = _certificates(chain, tls.certificate)
    _check_time(first, tls.certificate, datetime.now(UTC) if now is None else now)
    if authorities is not None:
        _certificates(authorities, tls.client_authorities)
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise UsageError(f"'{tls.key}' holds no PEM private key without a passphrase") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != first.public_key().public_bytes(*form):
        raise UsageError(f"the key in '{tls.key}' is not that of the certificate in '{tls.certificate}'")
    return Material(tls=tls, chain=chain, key=key, authorities=authorities)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the TLS {what} '{path}': {error.strerror}") from error


def _certificates(pem: bytes, path: Path | None) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UsageError(f"'{path}' holds no PEM certificate") from None


def _check_time(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    """Raise UsageError unless the certificate is valid now."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise UsageError(f"the TLS certificate '{path}' expired on {end:%Y-%m-%d}", hint="renew it")
    if now < start:
        raise UsageError(f"the TLS certificate '{path}' is not valid before {start:%Y-%m-%d}", hint="check the clock")
