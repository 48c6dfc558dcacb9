"""Ed25519 and RSA keys of SSH, wrapped for as age does it: ssh-ed25519 ..., ssh-rsa ..., OpenSSH private key files."""

from __future__ import annotations

from typing import Final

import pyrage
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from intact.crypto import Secret
from intact.errors import AccessError, UsageError
from intact.seal.recipient import Identity, KeyPair, Kind, Recipient

NAME = "ssh"
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
_PUBLIC = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")
_PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----"
_WANTED = "an Ed25519 key, or an RSA key of 2048 to 8192 bits"


def parse_recipient(text: str) -> Recipient | None:
    """Read a line of an SSH public key, such as "ssh-ed25519 AAAA... name"; the name at its end is not kept.

    Raises:
        UsageError: It begins so, and is no valid key, or one of another type.
    """
    if not text.startswith(_PUBLIC):
        return None
    try:
        key = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError("text that begins like an SSH public key is none", hint=f"give {_WANTED}") from None
    return Recipient(kind=NAME, public=_line(key))


def parse_identity(text: str) -> Identity | None:
    """Read the text of an OpenSSH private key file.

    Raises:
        UsageError: It begins so, and is damaged, protected by a passphrase, or of another type.
    """
    if not text.startswith(_PRIVATE) or "\n" not in text:  # not the first of its lines alone
        return None
    try:
        key = serialization.load_ssh_private_key(text.encode() + b"\n", password=None)
    except TypeError:
        raise UsageError(
            "SSH private key is protected by a passphrase, which is not supported",
            hint="take the passphrase off a copy (ssh-keygen -p -N '' -f COPY), or use a key of `intact keys new`",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError("SSH private key cannot be read", hint=f"give {_WANTED}") from None
    return Identity(kind=NAME, public=_line(key.public_key()), secret=Secret(text.encode() + b"\n"))


def generate() -> KeyPair:
    """Return a fresh Ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = _line(key.public_key())
    identity = Identity(kind=NAME, public=public, secret=Secret(text))
    return KeyPair(recipient=Recipient(kind=NAME, public=public), identity=identity)


def wrap(data_key: Secret, recipient: Recipient) -> bytes:
    """Return an age file that holds the data key."""
    return bytes(pyrage.encrypt(data_key.value, [pyrage.ssh.Recipient.from_str(recipient.public)]))


def unwrap(wrapped: bytes, identity: Identity) -> Secret:
    """Unwrap the data key.

    Raises:
        AccessError: The file is for somebody else, or damaged; which, cannot be told.
    """
    assert identity.secret is not None  # `parse_identity` and `generate` set it
    key = pyrage.ssh.Identity.from_buffer(identity.secret.value)
    try:
        return Secret(bytes(pyrage.decrypt(wrapped, [key])))
    except pyrage.DecryptError:
        raise AccessError(
            "SSH identity does not unwrap the data key", hint="check that keys.json is not damaged"
        ) from None


def _line(key: object) -> str:
    """Return type and body of a public key in one line, without a name.

    Raises:
        UsageError: It is of a type that age does not wrap for, or of a size it should not.
    """
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    ):
        return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    raise UsageError("SSH key is of a type or size that nothing is wrapped for", hint=f"give {_WANTED}")


KIND = Kind(
    name=NAME,
    wrap=wrap,
    unwrap=unwrap,
    parse_recipient=parse_recipient,
    parse_identity=parse_identity,
    generate=generate,
    private_prefix=_PRIVATE,
)
