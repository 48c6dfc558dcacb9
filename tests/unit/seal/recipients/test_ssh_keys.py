"""SSH keys: those of ssh-keygen, in its own spellings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from intact import seal
from intact.crypto import Secret
from intact.errors import UsageError
from intact.seal.recipients import ssh

KEY = Secret.random()
PROTECTED = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABA7EiskgH
Qhih6k4pxjoWlNAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKehbX++SyLUYLim
87cS1YbRb3aVExGuPoq6K9OrTncZAAAAkHrDDpA2l4BqOtpV+LbYw7JRu+oq/KFloZub9e
qHJperCAL60juUAj4eqKEXzpcMh4qqoHjfkBJkqDovgednFbh7CIsVa151iKhPidYgygZr
e7TYmSiNIHuAxmjGDDH0t6i5dybSuXWP37sDsoWfFZUF69cQU740jglcbKfPvpjznV9uuB
lavkYpPU3h/p0Qwg==
-----END OPENSSH PRIVATE KEY-----
"""
"""Made by ssh-keygen with the passphrase "pw"."""
OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def files(folder: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    """Write a key pair as ssh-keygen does; return the path of the private one."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    (folder / "id").write_bytes(private.private_bytes(*form))
    (folder / "id.pub").write_bytes(private.public_key().public_bytes(*OPENSSH) + b" alice@laptop\n")
    return folder / "id"


def test_an_rsa_key_opens_too(tmp_path: Path) -> None:
    path = files(tmp_path, rsa.generate_private_key(65537, 2048))
    recipient, identity = seal.load_recipient(path.with_suffix(".pub")), seal.load_identity(path)
    assert recipient.id == identity.id
    assert ssh.unwrap(ssh.wrap(KEY, recipient), identity) == KEY


def test_an_ed25519_key_opens_from_its_files(tmp_path: Path) -> None:
    pair = ssh.generate()
    (tmp_path / "id").write_bytes(pair.identity.secret.value)
    assert seal.load_identity(tmp_path / "id") == seal.load_identity(str(tmp_path / "id")) == pair.identity
    assert seal.load_recipient(f"{pair.recipient.public} alice@laptop") == pair.recipient


def test_the_name_at_the_end_is_not_kept() -> None:
    pair = ssh.generate()
    found = ssh.parse_recipient(f"{pair.recipient.public} alice@laptop")
    assert found == pair.recipient
    assert "alice" not in found.public


def test_a_protected_key_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "id"
    path.write_text(PROTECTED)
    with pytest.raises(UsageError, match="protected by a passphrase") as caught:
        seal.load_identity(path)
    assert "ssh-keygen -p" in caught.value.hint


@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)])  # noqa: S505
def test_keys_that_age_does_not_wrap_for_are_refused(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    path = files(tmp_path, private)
    for load, source in ((seal.load_identity, path), (seal.load_recipient, path.with_suffix(".pub"))):
        with pytest.raises(UsageError, match="of a type or size") as caught:
            load(source)
        assert "Ed25519" in caught.value.hint


def test_damaged_keys_are_refused_unseen(tmp_path: Path) -> None:
    pair = ssh.generate()
    text = pair.identity.secret.value.decode()
    (tmp_path / "id").write_text(text.replace(text[60:100], "A" * 40))
    (tmp_path / "cut").write_text(text.splitlines()[0])
    loads = [
        (seal.load_identity, tmp_path / "id", "cannot be read"),
        (seal.load_identity, tmp_path / "cut", "no private key"),
        (seal.load_recipient, "ssh-ed25519 AAAA", "begins like an SSH public key"),
        (seal.load_recipient, "ssh-dss AAAA", "begins like an SSH public key"),
        (seal.load_recipient, pair.recipient.public[:-6], "begins like an SSH public key"),
    ]
    for load, source, message in loads:
        with pytest.raises(UsageError, match=message) as caught:
            load(source)
        assert text[120:160] not in str(caught.value)


def test_the_keys_of_ssh_keygen_are_taken(tmp_path: Path) -> None:
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice@laptop", "-f", tmp_path / "id"]
    try:
        subprocess.run(make, check=True)
    except FileNotFoundError:
        pytest.skip("openssh-client is not installed")
    identity = seal.load_identity(tmp_path / "id")
    assert ssh.unwrap(ssh.wrap(KEY, seal.load_recipient(tmp_path / "id.pub")), identity) == KEY
