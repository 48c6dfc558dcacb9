"""What an operator decides about a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from intact.errors import UsageError
from intact.guard import Mode
from intact.serve.access import OidcSettings
from intact.serve.models import Limits

LARGEST_BODY: Final = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Keys for encrypted connections.

    Args:
        certificate: PEM file of the server's certificate chain.
        key: PEM file of its private key.
        client_authorities: PEM file of authorities; then clients must show a certificate of theirs.
    """

    certificate: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve.

    Args:
        state: URL of the database with grants and the log.
        host: Address to listen on.
        port: Port for HTTP; 0 for any that is free.
        grpc_port: Port for gRPC; 0 for any that is free, None for no gRPC.
        tls: Keys; None for plain connections, which only this machine may make.
        plaintext: Whether plain connections may come from other machines: behind something that ends TLS.
        redis: URL of Redis for bursts, where there are replicas; None to count in memory.
        oidc: Issuer whose tokens are taken; None for keys only.
        origin: Name of the log.
        guard: Mode by check, for those that shall not have their default; None for no guard at all.
        largest_body: Most bytes in an inference request.
        limits: What a request may ask of a model.
        workers: Batches at a time, of each model.
        open_health: Whether health needs no credential.
        console: Whether there are pages for browsers, under /console/.
        patience_s: How long a client may take to send its headers; six times as long for the whole request.
        drain_s: How long requests under way may take once the server is to stop.
        traces: URL that OpenTelemetry traces are sent to; None for none.
    """

    state: str
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = 8001
    tls: Tls | None = None
    plaintext: bool = False
    redis: str | None = None
    oidc: OidcSettings | None = None
    origin: str = "intact.local/log"
    guard: Mapping[str, Mode] | None = field(default_factory=dict)
    largest_body: int = LARGEST_BODY
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    workers: int = 1
    open_health: bool = False
    console: bool = True
    patience_s: float = 10.0
    drain_s: float = 20.0
    traces: str | None = None

    def __post_init__(self) -> None:
        if self.tls is None and not self.plaintext and not _is_here(self.host):
            raise UsageError(
                f"listening on {self.host} without TLS would show keys and data to the network",
                hint="give --tls-cert and --tls-key, or --plaintext behind a proxy that ends TLS",
            )


def _is_here(host: str) -> bool:
    """Whether only this machine can connect to `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
