"""Keys in the transit engine of a Vault: a server over real TLS that follows its documented interface."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from intact.crypto import Secret
from intact.errors import AccessError, IntactError, UsageError
from intact.seal.recipient import Identity, Recipient
from intact.seal.recipients import vault
from support.transit import TOKEN, Transit, transit

KEY = Secret.random()
RECIPIENT = Recipient(kind="vault", public="vault://transit/models")
IDENTITY = Identity(kind="vault", public="vault://transit/models")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transit]:
    with transit(tmp_path_factory.mktemp("vault")) as state:
        yield state


@pytest.fixture
def server(running: Transit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Transit:
    """The server, and an environment that knows it and nothing else."""
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    running.answer = None
    running.paths.clear()
    return running


def refused(kind: type[IntactError], message: str) -> None:
    """Check that wrapping fails so, with a hint, and shows neither token nor key."""
    with pytest.raises(kind, match=message) as caught:
        vault.wrap(KEY, RECIPIENT)
    assert type(caught.value) is kind
    assert caught.value.hint
    shown = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert TOKEN not in shown
    assert base64.b64encode(KEY.value).decode() not in shown


def test_the_key_is_asked_for_by_mount_and_name(server: Transit) -> None:
    server.keys["team/a/transit", "m"] = os.urandom(32)
    recipient, identity = vault.parse_recipient("vault://team/a/transit/m"), vault.parse_identity("vault:models")
    wrapped = vault.wrap(KEY, recipient)
    assert wrapped.startswith(b"vault:v1:")
    assert vault.unwrap(wrapped, vault.parse_identity("vault://team/a/transit/m")) == KEY
    assert identity == IDENTITY
    assert server.paths == ["/v1/team/a/transit/encrypt/m", "/v1/team/a/transit/decrypt/m"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "//a",
        "//a/",
        "///a",
        "//../a",
        "..",
        "//a/../b",
        "a?b",
        "a b",
        "-a",
        "a%2fb",
        "https://a/b",
        "//a//b",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    text = f"vault:{name}"
    for parse in (vault.parse_recipient, vault.parse_identity):
        with pytest.raises(UsageError, match="names no transit key"):
            parse(text)


def test_what_was_encrypted_for_another_purpose_is_refused(server: Transit) -> None:
    plain = base64.b64encode(KEY.value).decode()
    for extra in ("", base64.b64encode(b"another").decode()):
        body = {"plaintext": plain, "associated_data": extra}
        _, answer = server.respond("/v1/transit/encrypt/models", TOKEN, body)
        with pytest.raises(AccessError, match="does not unwrap"):
            vault.unwrap(answer["data"]["ciphertext"].encode(), IDENTITY)


def test_a_wrong_token_is_an_access_error(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.stale")
    refused(AccessError, r"does not let this token use vault://transit/models")


def test_a_missing_key_is_named(server: Transit) -> None:
    with pytest.raises(UsageError, match="has no vault://transit/other"):
        vault.wrap(KEY, vault.parse_recipient("vault:other"))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_sealed_or_failing_server_is_told(server: Transit, status: int) -> None:
    server.answer = (status, {"errors": ["Vault is sealed"]})
    refused(UsageError, "cannot answer now")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": None}, {"data": {"ciphertext": "x"}}, {"data": []}])
def test_an_answer_that_is_none_is_told(server: Transit, body: dict[str, object]) -> None:
    server.answer = (200, body)
    refused(UsageError, "answered with no ciphertext")


@pytest.mark.parametrize("plaintext", ["", "!", "AA", None, 7])
def test_an_answer_that_holds_no_key_opens_nothing(server: Transit, plaintext: object) -> None:
    wrapped = vault.wrap(KEY, RECIPIENT)
    server.answer = (200, {"data": {"plaintext": plaintext}})
    try:
        assert len(vault.unwrap(wrapped, IDENTITY)) < 32  # and no data key then
    except AccessError as error:
        assert "does not unwrap" in str(error)


def test_nobody_listening_is_told(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://127.0.0.1:9")
    refused(UsageError, r"https://127\.0\.0\.1:9 cannot be asked \(ConnectionError\)")


def test_a_certificate_nobody_vouches_for_is_refused(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_CACERT")
    refused(UsageError, r"cannot be asked \(SSLError\)")
    assert server.paths == []


def test_a_redirection_does_not_get_the_token(server: Transit) -> None:
    server.answer = (307, {"location": f"{server.address}/v1/elsewhere"})
    refused(UsageError, "answered with no ciphertext|cannot be asked|cannot answer")
    assert server.paths == ["/v1/transit/encrypt/models"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "no address of a Vault"),
        ("http://vault.example:8200", "not https"),
        ("http://127.0.0.1.example:8200", "not https"),
        ("ftp://127.0.0.1", "not https"),
        ("vault.example", "not https"),
        ("https://user:word@vault.example", "holds a password"),
        ("https://[", "is no URL"),
        ("https://127.0.0.1:port", "cannot be asked"),
    ],
)
def test_an_address_that_others_could_listen_to_is_refused(
    server: Transit, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)
    refused(UsageError, message)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"])
def test_without_tls_on_this_machine_only(server: Transit, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)
    refused(UsageError, "cannot be asked")


def test_the_token_comes_from_its_file(server: Transit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    refused(UsageError, "no token for the Vault")
    (tmp_path / ".vault-token").write_text(f"{TOKEN}\n")
    assert vault.unwrap(vault.wrap(KEY, RECIPIENT), IDENTITY) == KEY


def test_a_token_that_is_none_is_refused(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "one\r\nX-Header: two")
    refused(UsageError, "no token")


def test_the_variables_of_openbao_go_before(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, "wrong")
        monkeypatch.setenv(name.replace("VAULT", "BAO"), value)
    assert vault.unwrap(vault.wrap(KEY, RECIPIENT), IDENTITY) == KEY


def test_without_its_package_the_kind_says_so(server: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    refused(UsageError, "need the package hvac")


def test_nothing_is_asked_for_what_is_no_ciphertext(server: Transit) -> None:
    for data in (b"", b"vault:v0:AAAA", b"vault:v1:", b"vault:v1:AA\n", b"vault:v1:AAAA, and more"):
        with pytest.raises(AccessError, match="does not unwrap"):
            vault.unwrap(data, IDENTITY)
    assert server.paths == []
