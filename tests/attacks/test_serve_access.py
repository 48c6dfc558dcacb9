"""Attacks on who may: guessed, forged and borrowed credentials; counts raced and rolled back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from intact.crypto import Secret
from intact.errors import UsageError
from intact.serve.access import Authenticator, Oidc, OidcSettings
from intact.serve.errors import CredentialRefused, StateUnavailable
from intact.serve.state import Charge, Store, Terms
from support.issuer import AUDIENCE, Issuer, issuer

MODEL = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store.open(f"sqlite:///{tmp_path / 'state.db'}", pepper=Secret(b"p" * 32))) as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Issuer]:
    with issuer(tmp_path / "issuer") as state:
        state.new_key("one")
        yield state


@pytest.fixture
def oidc(served: Issuer) -> Oidc:
    return Oidc(OidcSettings(issuer=served.url, audience=AUDIENCE, ca_file=str(served.ca_file)))


def raw(header: Any, claims: Any, signature: bytes = b"") -> str:
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


def test_headers_that_are_no_credential(store: Store) -> None:
    text = store.add_key("alice")[0].value.decode()
    wrong = [None, "", "Bearer", "Bearer ", text, f"Basic {text}", f"Bearer {text} {text}", f"Bearer {text}\n"]
    wrong += [f"Bearer {text}\0", f" Bearer {text}", f"Bearer\t{text}", f"Bearer {text},{text}", "Bearer " + "a" * 9000]
    wrong += [f"Bearer {text[:-1]}", f"Bearer {text.swapcase()}", "Bearer " + "ü" * 60, f"Bearer {text[:16]}{'A' * 43}"]
    wrong += ["Bearer a.b.c", "Bearer intact_abcdefgh_" + "A" * 43]

    async def run() -> None:
        authenticator = Authenticator(store)
        told = set()
        for header in wrong:
            with pytest.raises(CredentialRefused) as caught:
                await authenticator.identify(header)
            told.add((caught.value.message, caught.value.hint))
        assert len(told) == 1  # which of these it was is not told
        assert (await authenticator.identify(f"Bearer {text}")).subject == "alice"
        authenticator.close()

    asyncio.run(run())


def test_a_stolen_database_opens_nothing(store: Store, tmp_path: Path) -> None:
    text, info = store.add_key("alice")
    database = sqlite3.connect(tmp_path / "state.db")
    ((stored,),) = database.execute("SELECT digest FROM api_keys").fetchall()
    database.close()
    secret = base64.urlsafe_b64encode(stored).rstrip(b"=").decode()
    assert store.find_key(f"intact_{info.id}_{secret}") is None  # what is stored is no key
    plain = hashlib.sha256(text.value).digest()
    assert not hmac.compare_digest(stored, plain)  # and tells, without the pepper, nothing to guess against


def test_a_key_cannot_be_put_under_the_subject_of_a_token(store: Store) -> None:
    with pytest.raises(UsageError, match="only those of tokens do"):
        store.add_key("oidc:alice")


def test_an_issuer_cannot_name_the_subject_of_a_key(store: Store, served: Issuer, oidc: Oidc) -> None:
    store.add_grant("alice", MODEL, Terms())

    async def run() -> None:
        authenticator = Authenticator(store, oidc)
        principal = await authenticator.identify(f"Bearer {served.token('one', sub='alice')}")
        assert principal.subject == "oidc:alice"
        assert store.find_grant(principal.subject, MODEL) is None
        authenticator.close()

    asyncio.run(run())


def test_a_forged_token_is_refused(served: Issuer, oidc: Oidc) -> None:
    good = served.token("one")
    assert oidc.verify(good) is not None
    header, claims, signature = good.split(".")
    public = served.private["one"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = raw({"alg": "HS256", "kid": "one"}, served.claims()).rpartition(".")[0]
    confused = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), "sha256")).rstrip(b"=").decode()
    own = jwt.encode(served.claims(), "x" * 32, algorithm="HS256", headers={"kid": "one"})
    forged = [
        raw({"alg": "none", "kid": "one"}, served.claims()),
        raw({"alg": "None", "kid": "one"}, served.claims()),
        f"{signed}.{confused}",  # the public key as a shared secret
        own,
        f"{header}.{claims}.",
        f"{header}.{base64.urlsafe_b64encode(json.dumps(served.claims(sub='root')).encode()).decode()}.{signature}",
        good[:-8] + "AAAAAAAA",
        served.token("one", headers={"kid": "../../dev/null"}),
        served.token("one", headers={"crit": ["exp"]}),
        served.token("one", "RS512"),
        raw(b"[" * 5000, served.claims()),
        raw({"alg": ["RS256"], "kid": "one"}, served.claims()),
        raw({"alg": "RS256", "kid": {"one": 1}}, served.claims()),
        "..",
        "a.b",
    ]
    for token in forged:
        assert oidc.verify(token) is None, token


def test_a_token_for_something_else_is_refused(served: Issuer, oidc: Oidc) -> None:
    now = int(time.time())
    wrong: list[dict[str, Any]] = [
        {"aud": "other"},
        {"aud": None},
        {"aud": ["other", "another"]},
        {"iss": "https://127.0.0.1"},
        {"iss": served.url + "/"},
        {"iss": None},
        {"exp": now - 31},
        {"exp": None},
        {"exp": "never"},
        {"nbf": now + 100},
        {"iat": now + 100},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": " alice"},
        {"sub": "a\nb"},
        {"sub": 7},
        {"sub": "a" * 300},
    ]
    for changed in wrong:
        assert oidc.verify(served.token("one", **changed)) is None, changed


def test_a_weak_or_misused_key_of_the_issuer_is_not_taken(served: Issuer, oidc: Oidc) -> None:
    served.new_key("encrypts", use="enc")
    served.new_key("other algorithm", alg="PS256")
    served.new_key("elliptic", "ES256")
    served.keys[-1]["crv"] = "secp256k1"
    served.keys.append({"kty": "oct", "kid": "shared", "k": "c2VjcmV0" * 8, "alg": "HS256"})
    served.new_key("leaked")
    served.keys[-1]["d"] = "AQAB"
    for kid, algorithm in (
        ("encrypts", "RS256"),
        ("other algorithm", "RS256"),
        ("elliptic", "ES256"),
        ("leaked", "RS256"),
    ):
        assert oidc.verify(served.token(kid, algorithm)) is None, kid
    assert oidc.verify(served.token("one")) is not None


def test_strangers_cannot_make_the_server_ask_the_issuer(served: Issuer, oidc: Oidc) -> None:
    assert oidc.verify(served.token("one")) is not None
    before = served.asked
    for number in range(200):
        oidc.verify(raw({"alg": "RS256", "kid": f"stranger {number}"}, served.claims(), b"x" * 256))
    assert served.asked == before


def test_discovery_cannot_be_led_elsewhere(served: Issuer) -> None:
    token = served.token("one")
    for place in (
        {"issuer": "https://other.example", "jwks_uri": f"{served.url}/keys"},
        {"issuer": served.url, "jwks_uri": "file:///etc/passwd"},
        {"issuer": served.url, "jwks_uri": "http://192.0.2.1/keys"},
        {"issuer": served.url, "jwks_uri": f"{served.url}/keys\r\nX: y"},
        {"issuer": served.url, "jwks_uri": 7},
        {"issuer": served.url},
    ):
        served.discovery = place
        oidc = Oidc(OidcSettings(issuer=served.url, audience=AUDIENCE, ca_file=str(served.ca_file)))
        with pytest.raises(StateUnavailable):
            oidc.verify(token)


def test_a_redirect_is_not_followed(served: Issuer, oidc: Oidc) -> None:
    def redirect(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://192.0.2.1/")
        handler.end_headers()

    served.answer = redirect
    with pytest.raises(StateUnavailable, match="status 302"):
        oidc.verify(served.token("one"))


def test_a_quota_cannot_be_exceeded_even_by_writing_to_the_table(store: Store, tmp_path: Path) -> None:
    grant = store.add_grant("alice", MODEL, Terms(limit=3))
    store.settle([Charge(grant.id, b"", "jwt:x")] * 9)
    database = sqlite3.connect(tmp_path / "state.db")
    with pytest.raises(sqlite3.IntegrityError, match="within_quota"):
        database.execute("UPDATE grants SET used = 4")
    database.close()


def test_a_database_put_back_is_noticed(store: Store, tmp_path: Path) -> None:
    grant = store.add_grant("alice", MODEL, Terms(limit=3))
    copy = sqlite3.connect(tmp_path / "copy.db")
    live = sqlite3.connect(tmp_path / "state.db")
    live.backup(copy)
    store.settle([Charge(grant.id, b"", "jwt:x")] * 3)
    copy.backup(live)  # in place: the same file, as it was before
    for each in (copy, live):
        each.close()
    with pytest.raises(StateUnavailable, match="an old copy was put in its place"):
        store.settle([Charge(grant.id, b"", "jwt:x")])


def test_names_are_never_sql(store: Store) -> None:
    for name in ("'; DROP TABLE grants; --", '" OR 1=1 --', "%", "_", "alice'--"):
        store.add_grant(name, MODEL, Terms())
        found = store.find_grant(name, MODEL)
        assert found is not None
        assert [grant.subject for grant in store.grants(name)] == [name]
    assert store.find_grant("alice", MODEL) is None
    assert len(store.grants()) == 5
