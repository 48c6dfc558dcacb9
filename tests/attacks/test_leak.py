"""Someone reads what the program prints, or watches which error it gives."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import forge
import pytest
from victims import Victim, packed

from intact import seal
from intact.crypto import Secret
from intact.crypto.chunked import refusal, unseal
from intact.crypto.chunked import seal as encrypt
from intact.errors import IntactError, IntegrityError, UsageError
from intact.seal.derivation import Keyring
from intact.seal.manifest import Manifest
from intact.seal.tensors import store
from support.transit import transit

Copy = Callable[[str], Victim]


def secrets_of(target: Victim) -> list[str]:
    """Return every secret of `target` in every form it might be printed in."""
    data_key = forge.data_key(target.path, target.owner.identity).value
    private = target.owner.identity.secret.value.decode()
    body = "".join(target.signer.to_pem().decode().splitlines()[1:-1])
    return [private, private[16:40], data_key.hex(), repr(data_key), repr(data_key)[2:20], body, body[-40:]]


def test_no_repr_and_no_error_shows_a_secret(victim: Copy) -> None:
    target = victim("tiny")
    secrets = secrets_of(target)
    shown = [repr(target), str(target), repr(target.read()), repr(seal.inspect(target.path))]
    keyring = Keyring(data_key=Secret(bytes(32)), artifact="0" * 32, revision=1)
    shown.append(repr(keyring))
    for path in sorted(target.path.iterdir()):
        before = path.read_bytes()
        for damaged in (before[:-1], before[:-1] + bytes([before[-1] ^ 1]), b""):
            path.write_bytes(damaged)
            with pytest.raises(IntactError) as caught:
                target.read()
            shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value), str(caught.value.hint)]
        path.write_bytes(before)
    for text in shown:
        assert not [secret for secret in secrets if secret in text]


def test_writing_leaves_no_secret_on_disk(victim: Copy, tmp_path: Path) -> None:
    target = victim("tiny")
    secrets = [secret.encode() for secret in secrets_of(target)]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not [secret for secret in secrets if secret in path.read_bytes()]


def test_no_token_and_no_key_go_to_a_server_nobody_vouches_for(
    victim: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, recipient = victim("tiny"), seal.load_recipient("vault:models")
    with transit(tmp_path / "vault") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        seal.add_recipients(target.path, [recipient], identities=[target.owner.identity])
        assert len(server.paths) == 1
        monkeypatch.delenv("VAULT_CACERT")
        for address in (server.address, server.address.replace("https://127.0.0.1", "http://vault.example")):
            monkeypatch.setenv("VAULT_ADDR", address)
            with pytest.raises(UsageError, match="cannot be asked|not https"):
                seal.read(target.path, identities=[seal.load_identity("vault:models")], allow_unsigned=True)
        assert len(server.paths) == 1


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A proxy that the environment names for plain HTTP; it takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY", "BAO_ADDR", "BAO_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        listener.setblocking(False)
        yield listener


SERVICES = {
    "vault": ("vault:models", {"VAULT_ADDR": "{}", "VAULT_TOKEN": "hvs.t"}),
    "aws_kms": (
        "arn:aws:kms:eu-central-1:111122223333:key/1",
        {"AWS_ENDPOINT_URL_KMS": "{}", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"},
    ),
}


@pytest.mark.parametrize("kind", SERVICES)
def test_no_token_and_no_key_go_to_a_proxy_without_tls(
    victim: Copy, proxy: socket.socket, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    target, (name, environment) = victim("tiny"), SERVICES[kind]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for address, message in (
        (f"http://127.0.0.1:{port}", "cannot be asked"),
        (f"http://localhost:{port}", "cannot be asked"),
        ("http://kms.example", "not https"),
        ("http://127.0.0.1.example:80", "not https"),
    ):
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value.format(address))
        with pytest.raises(UsageError, match=message):
            seal.add_recipients(target.path, [seal.load_recipient(name)], identities=[target.owner.identity])
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_everything_that_fails_under_the_key_fails_alike(victim: Copy) -> None:
    """With every public digest made to fit, and even with the data key, an attacker sees one and the same error."""
    target = victim("unsigned")
    manifest = Manifest.from_bytes((target.path / "manifest.json").read_bytes())
    data_key = forge.data_key(target.path, target.owner.identity)
    keyring = Keyring(data_key=data_key, artifact=manifest.artifact, revision=manifest.revision)
    genuine = (target.path / "header.enc").read_bytes()
    headers = {
        "damaged tag": genuine[:-1] + bytes([genuine[-1] ^ 1]),
        "damaged salt": b"\0" + genuine[1:],
        "truncated": genuine[:60],
        "empty": encrypt(keyring.header, b""),
        "no graph": encrypt(keyring.header, b"{}"),
        "no JSON": encrypt(keyring.header, b"junk\ngraph"),
        "another record": encrypt(keyring.header, b"{}\ngraph"),
        "no tensors": encrypt(
            keyring.header,
            b'{"card_blake3":"","lineage_blake3":"","metadata":{},"policy_blake3":"","tensors":[]}\ngraph',
        ),
    }
    errors = set()
    for header in headers.values():
        (target.path / "header.enc").write_bytes(header)
        forge.fix_digests(target.path)
        errors.add(outcome(target))
    (target.path / "header.enc").write_bytes(genuine)
    weights = (target.path / "weights.safetensors").read_bytes()
    for place in (-1, -40, forge.tensor_spans(target.path)[0][0], forge.tensor_spans(target.path)[0][0] + 30):
        damaged = bytearray(weights)
        damaged[place] ^= 1
        (target.path / "weights.safetensors").write_bytes(damaged)
        forge.fix_digests(target.path)
        errors.add(outcome(target))
    assert errors == {(IntegrityError, str(refusal()), None)}


def test_a_stored_tensor_that_does_not_decode_fails_like_the_rest(victim: Copy) -> None:
    target = victim("packed")
    manifest = Manifest.from_bytes((target.path / "manifest.json").read_bytes())
    data_key = forge.data_key(target.path, target.owner.identity)
    keyring = Keyring(data_key=data_key, artifact=manifest.artifact, revision=manifest.revision)
    specs = [each.spec for each in store(packed().program)]
    keys = keyring.tensors((spec.dtype, spec.shape) for spec in specs)
    path, errors = target.path / "weights.safetensors", set()
    genuine = path.read_bytes()
    for key, (begin, end) in zip(keys, forge.tensor_spans(target.path), strict=True):
        plain = bytes(unseal(key, genuine[begin:end]))
        for damaged in (b"\xff" + plain[1:], bytes(len(plain)), plain[4:] + plain[:4]):
            path.write_bytes(genuine[:begin] + encrypt(key, damaged) + genuine[end:])
            forge.fix_digests(target.path)
            errors.add(outcome(target))
    assert errors == {(IntegrityError, str(refusal()), None)}


def outcome(target: Victim) -> tuple[type, str, str | None]:
    """Return everything a caller can see of the refusal."""
    with pytest.raises(IntactError) as caught:
        target.read(allow_unsigned=True)
    return type(caught.value), str(caught.value), caught.value.hint
