"""Key files: making them, reading them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from intact.crypto import Authority, CertifiedKey, SigningKey, VerifyingKey
from intact.crypto.certificates import PEM_MARK
from intact.errors import UsageError
from intact.seal.recipient import Identity, Recipient
from intact.seal.recipients import hybrid, kinds, x25519

IDENTITY: Final = "identity.key"
RECIPIENT: Final = "identity.pub"
SIGNING: Final = "signing.key"
VERIFYING: Final = "signing.pub"
_LIMIT_BYTES: Final = 2**16


def new_keys(out: Path, *, post_quantum: bool = False) -> None:
    """Make a pair of keys to open with and a pair to sign with.

    Writes identity.key (age X25519, as age-keygen writes it), identity.pub, signing.key (Ed25519, PEM PKCS #8) and
    signing.pub into `out`, which is made if it is not there. The private ones have mode 0600 from their first byte on.
    All four are written or none.

    Args:
        out: The folder.
        post_quantum: Make the pair to open with one of ML-KEM-768 and X25519 together.

    Raises:
        UsageError: One of the files exists already, or the system refuses to write.
    """
    pair, signer = (hybrid if post_quantum else x25519).generate(), SigningKey.generate()
    public, private = pair.recipient.public, pair.identity.secret
    assert private is not None  # a generated key is held here
    files = {
        IDENTITY: b"# public key: %b\n%b\n" % (public.encode(), private.value),
        RECIPIENT: public.encode() + b"\n",
        SIGNING: signer.to_pem(),
        VERIFYING: signer.verifying_key.to_pem(),
    }
    with _all_or_none() as written:
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, content in files.items():
                _write_new(out / name, content, 0o600 if name.endswith(".key") else 0o644, written)
        except FileExistsError as error:
            raise UsageError(f"{error.filename!a} exists already", hint="choose another folder") from None
        except OSError as error:
            raise UsageError(f"cannot write keys to {str(out)!a}: {error.strerror}") from None


def load_identity(source: Path | str) -> Identity:
    """Read an identity from a file, or from the text of a private key.

    Raises:
        UsageError: The file cannot be read, or holds no private key of a known kind.
    """
    for text in _texts(source):
        for kind in kinds():
            if (identity := kind.parse_identity(text)) is not None:
                return identity
    raise UsageError(_missing(source, "private key to open with"), hint="give an identity.key")


def load_recipient(source: Path | str) -> Recipient:
    """Read a recipient from a file, or from the text of a public key.

    Raises:
        UsageError: The file cannot be read, or holds no public key of a known kind.
    """
    for text in _texts(source):
        for kind in kinds():
            if (recipient := kind.parse_recipient(text)) is not None:
                return recipient
    raise UsageError(_missing(source, "public key to seal for"), hint="give an identity.pub")


def load_signing_key(path: Path | str, certificates: Path | str | None = None) -> SigningKey | CertifiedKey:
    """Read an Ed25519 or ECDSA P-256 private key in PEM.

    Args:
        path: File of the key.
        certificates: File of its certificate, and of those that lead on to an authority, in PEM; None for a bare key.

    Raises:
        UsageError: A file cannot be read, holds no such key or certificates, or they do not fit.
    """
    key = SigningKey.from_pem(_read(Path(path)))
    return key if certificates is None else CertifiedKey.from_pem(key, _read(Path(certificates)))


def load_verifying_key(path: Path | str) -> VerifyingKey | Authority:
    """Read who is trusted to sign: an Ed25519 or ECDSA P-256 public key, or certificates of an authority, in PEM.

    Raises:
        UsageError: The file cannot be read, or holds neither.
    """
    data = _read(Path(path))
    return Authority.from_pem(data) if PEM_MARK in data else VerifyingKey.from_pem(data)


@contextmanager
def _all_or_none() -> Iterator[list[Path]]:
    """Give a list for the paths written; they are removed again unless the block ends well."""
    written: list[Path] = []
    done = False
    try:
        yield written
        done = True
    finally:
        for path in [] if done else written:
            path.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes, mode: int, written: list[Path]) -> None:
    """Write the new file `path`, which must not exist, and wait until it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    written.append(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _texts(source: Path | str) -> list[str]:
    """Return what in a key file may be a key: each line, and all of it; or `source` itself where it is one."""
    if isinstance(source, str) and _is_key(source.strip()):
        return [source.strip()]
    try:
        text = _read(Path(source)).decode().strip()
    except UnicodeDecodeError:
        raise UsageError(f"{str(source)!a} is not a text file") from None
    return [*(line.strip() for line in text.splitlines()), text]


def shows_private_key(text: str) -> bool:
    """Whether `text` begins like a private key, which nobody should see on a command line."""
    return any(kind.private_prefix and text.strip().startswith(kind.private_prefix) for kind in kinds())


def _is_key(text: str) -> bool:
    """Whether `text` is a key of some kind, public or private: then it is no path, and is never shown."""
    return any(kind.parse_recipient(text) or kind.parse_identity(text) for kind in kinds())


def _read(path: Path) -> bytes:
    """Return the content of a key file."""
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read key file {str(path)!a}: {error.strerror}") from None
    if len(content) > _LIMIT_BYTES:
        raise UsageError(f"key file {str(path)!a} is larger than {_LIMIT_BYTES} bytes")
    return content


def _missing(source: Path | str, wanted: str) -> str:
    """Return the message for a source that holds no key, which may itself be a mistyped secret."""
    place = f"in {str(source)!a}" if isinstance(source, Path) else "in what was given"
    return f"no {wanted} found {place}"
