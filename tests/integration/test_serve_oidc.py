"""OIDC tokens against a real issuer over HTTPS: taken when everything is right, refused when anything is not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from intact.errors import UsageError
from intact.serve.access import Authenticator, Oidc, OidcSettings
from intact.serve.access import fetch as fetching
from intact.serve.errors import CredentialRefused, StateUnavailable
from intact.serve.state import Role, Store
from support.issuer import AUDIENCE, Issuer, issuer


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Issuer]:
    with issuer(tmp_path / "issuer") as state:
        state.new_key("one")
        yield state


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings(served: Issuer, **more: Any) -> OidcSettings:
    return OidcSettings(issuer=served.url, audience=AUDIENCE, ca_file=str(served.ca_file), **more)


@pytest.fixture
def oidc(served: Issuer, clock: Clock) -> Oidc:
    return Oidc(settings(served), clock=clock)


def test_a_good_token_names_its_subject(served: Issuer, oidc: Oidc) -> None:
    served.new_key("two", "ES256")
    for token in (served.token("one"), served.token("two", "ES256"), served.token("one", aud=["x", AUDIENCE])):
        claims = oidc.verify(token)
        assert claims is not None
        assert claims.subject == "alice"
        assert claims.expires == pytest.approx(time.time() + 630, abs=10)
    assert served.asked == 2  # discovery and keys, once


def test_keys_are_fetched_again_when_they_are_old(served: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = served.token("one")
    assert oidc.verify(token) is not None
    clock.now += 299
    assert oidc.verify(token) is not None
    assert served.asked == 2
    clock.now += 2
    assert oidc.verify(token) is not None
    assert served.asked == 4
    served.keys.clear()  # the issuer takes its key back
    clock.now += 301
    assert oidc.verify(token) is None


def test_a_new_key_is_fetched_but_not_too_often(served: Issuer, oidc: Oidc, clock: Clock) -> None:
    assert oidc.verify(served.token("one")) is not None
    served.new_key("two")
    for _ in range(5):
        assert oidc.verify(served.token("two")) is None
    assert served.asked == 2
    clock.now += 10
    assert oidc.verify(served.token("two")) is not None
    for number in range(50):
        assert oidc.verify(served.token("one", headers={"kid": f"stranger {number}"})) is None
    assert served.asked == 4


def test_an_issuer_that_is_down_is_bridged_for_an_hour(served: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = served.token("one")
    assert oidc.verify(token) is not None
    served.answer = lambda handler: handler.send_error(500)
    clock.now += 3599
    assert oidc.verify(token) is not None
    clock.now += 2
    with pytest.raises(StateUnavailable, match="could not be reached"):
        oidc.verify(token)  # asked a moment ago: not again
    clock.now += 10
    with pytest.raises(StateUnavailable, match="status 500"):
        oidc.verify(token)
    served.answer = None
    clock.now += 10
    assert oidc.verify(token) is not None


def test_an_issuer_with_another_certificate_is_not_asked(served: Issuer, clock: Clock) -> None:
    oidc = Oidc(OidcSettings(issuer=served.url, audience=AUDIENCE), clock=clock)
    with pytest.raises(StateUnavailable, match="SSL"):
        oidc.verify(served.token("one"))


def test_an_issuer_over_http_only_on_this_machine(tmp_path: Path) -> None:
    with issuer(tmp_path / "plain", tls=False) as state:
        state.new_key("one")
        oidc = Oidc(OidcSettings(issuer=state.url, audience=AUDIENCE))
        assert oidc.verify(state.token("one")) is not None
        state.discovery = {"issuer": state.url, "jwks_uri": "http://192.0.2.1/keys"}
        with pytest.raises(StateUnavailable, match="OIDC keys"):
            Oidc(OidcSettings(issuer=state.url, audience=AUDIENCE)).verify(state.token("one"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuer": "http://issuer.example"}, "OIDC issuer"),
        ({"issuer": "ftp://127.0.0.1"}, "OIDC issuer"),
        ({"issuer": "https://u:p@issuer.example"}, "OIDC issuer"),
        ({"issuer": "https://issuer.example/#x"}, "OIDC issuer"),
        ({"issuer": "https://issuer.example/ x"}, "OIDC issuer"),
        ({"issuer": "https://issuer.example:port"}, "OIDC issuer"),
        ({"audience": ""}, "audience"),
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("HS256",)}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
    ],
)
def test_settings_that_would_not_be_safe(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        OidcSettings(**{"issuer": "https://issuer.example", "audience": AUDIENCE, **wrong})


def test_authorities_that_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="cannot read authorities"):
        Oidc(OidcSettings(issuer="https://issuer.example", audience="a", ca_file="/nowhere"))


# ---- what an issuer, or who stands in its place, may answer


def reply(content: bytes) -> Any:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"issuer": "x"}', b'{"a": 1, "a": 2}', b"[" * 100_000, b" " * 300_000, b"\xff"],
)
def test_an_answer_that_makes_no_sense_is_no_key(served: Issuer, oidc: Oidc, content: bytes) -> None:
    served.answer = reply(content)
    with pytest.raises(StateUnavailable):
        oidc.verify(served.token("one"))


def test_an_answer_without_end_is_cut(served: Issuer, oidc: Oidc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "ALL_S", 0.5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(200):
                handler.wfile.write(b" ")
                time.sleep(0.05)

    served.answer = drip
    begun = time.monotonic()
    with pytest.raises(StateUnavailable):
        oidc.verify(served.token("one"))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("keys", [None, {}, [None, 1, "x", {}], [{"kty": "RSA"}] * 65])
def test_keys_that_are_none(served: Issuer, oidc: Oidc, keys: Any) -> None:
    token = served.token("one")
    served.keys = keys
    with contextlib.suppress(StateUnavailable):
        assert oidc.verify(token) is None


# ---- through the authenticator


def test_tokens_have_subjects_of_their_own_and_roles(served: Issuer, tmp_path: Path) -> None:
    with contextlib.closing(Store.open(f"sqlite:///{tmp_path / 'state.db'}")) as store:
        store.set_role("oidc:root", Role.ADMIN)

        async def run() -> None:
            authenticator = Authenticator(store, Oidc(settings(served)))
            alice = await authenticator.identify(f"Bearer {served.token('one')}")
            assert (alice.subject, alice.role) == ("oidc:alice", Role.CALLER)
            assert alice.credential.startswith("jwt:")
            root = await authenticator.identify(f"bearer {served.token('one', sub='root')}")
            assert root.role is Role.ADMIN
            with pytest.raises(CredentialRefused):
                await authenticator.identify(f"Bearer {served.token('one', aud='other')}")
            authenticator.close()

        asyncio.run(run())


def test_a_token_that_ends_is_good_no_longer_though_it_is_remembered(served: Issuer, tmp_path: Path) -> None:
    with contextlib.closing(Store.open(f"sqlite:///{tmp_path / 'state.db'}")) as store:
        clock = Clock(time.time())

        async def run() -> None:
            authenticator = Authenticator(store, Oidc(settings(served)), clock=clock)
            token = served.token("one", exp=int(time.time()) + 5)
            await authenticator.identify(f"Bearer {token}")
            clock.now += 60
            with pytest.raises(CredentialRefused):
                await authenticator.identify(f"Bearer {token}")
            authenticator.close()

        asyncio.run(run())
