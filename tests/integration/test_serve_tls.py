"""TLS and mutual TLS, with real certificates of a small authority, for HTTP and for gRPC."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from intact.serve.protocol.grpc_messages import SERVICE
from support.serving import Server, Site, command, serving
from support.web_certificates import Pair, WebAuthority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> WebAuthority:
    return WebAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: WebAuthority) -> Pair:
    return authority.pair("server")


def options(pair: Pair, *more: object) -> list[object]:
    return ["--tls-cert", pair.certificate, "--tls-key", pair.key, *more]


def get(server: Server, key: str, authority: WebAuthority, client: Pair | None = None) -> int:
    context = ssl.create_default_context(cafile=str(authority.path))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{server.http}/v2", headers=headers, verify=context, timeout=20).status_code


def live(server: Server, key: str, authority: WebAuthority, client: Pair | None = None) -> str:
    own = (None, None) if client is None else (client.key.read_bytes(), client.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), *own)
    with grpc.secure_channel(server.grpc, credentials) as channel:
        try:
            stub = channel.unary_unary(f"/{SERVICE}/ServerLive")
            stub(b"", metadata=[("authorization", f"Bearer {key}")], timeout=20)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def test_clients_that_trust_the_authority_are_answered(site: Site, authority: WebAuthority, pair: Pair) -> None:
    key = site.caller("alice")
    with serving(site, *options(pair)) as server:
        assert server.http.startswith("https://")
        assert get(server, key, authority) == 200
        assert live(server, key, authority) == "OK"
        with pytest.raises(httpx.TransportError):
            httpx.get(server.http.replace("https", "http"), timeout=20)
        with pytest.raises(httpx.TransportError):
            get(server, key, WebAuthority(site.folder, "stranger"))


def test_clients_must_show_a_certificate(site: Site, authority: WebAuthority, pair: Pair, tmp_path: Path) -> None:
    key, stranger = site.caller("alice"), WebAuthority(tmp_path, "stranger")
    with serving(site, *options(pair, "--client-ca", authority.path)) as server:
        good = authority.pair("client")
        assert get(server, key, authority, good) == 200
        assert live(server, key, authority, good) == "OK"
        assert get(server, "none", authority, good) == 401  # a certificate is no credential
        for bad in (None, stranger.pair("other"), authority.pair("old", (-9, -2))):
            with pytest.raises(httpx.TransportError):
                get(server, key, authority, bad)
            assert live(server, key, authority, bad) == "UNAVAILABLE"


@pytest.mark.parametrize(("days", "told"), [((-9, -2), "expired"), ((2, 9), "not valid before")])
def test_a_certificate_out_of_its_time(
    site: Site, authority: WebAuthority, started: Callable[..., Any], days: tuple[int, int], told: str
) -> None:
    assert told in refused(site, started, options(authority.pair("untimely", days)))


def test_files_that_are_not_what_they_should_be(
    site: Site, authority: WebAuthority, pair: Pair, started: Callable[..., Any], tmp_path: Path
) -> None:
    other, empty = authority.pair("another"), tmp_path / "empty"
    empty.write_bytes(b"")
    told = {
        "is not that of the certificate": Pair(certificate=pair.certificate, key=other.key),
        "No such file": Pair(certificate=pair.certificate, key=tmp_path / "none"),
        "no PEM private key": Pair(certificate=pair.certificate, key=empty),
        "no PEM certificate": Pair(certificate=empty, key=pair.key),
    }
    for words, bad in told.items():
        assert words in refused(site, started, options(bad))
    assert "no PEM certificate" in refused(site, started, options(pair, "--client-ca", empty))


def test_a_certificate_without_its_key(site: Site, pair: Pair, started: Callable[..., Any]) -> None:
    assert "its key" in refused(site, started, ["--tls-cert", pair.certificate])


def refused(site: Site, started: Callable[..., Any], words: list[object]) -> str:
    """What `intact serve` says when it does not start."""
    told = started(*command(site, *words)[3:], **site.pepper)
    assert told.code == 2, told.out + told.err
    return str(told.json["error"])
