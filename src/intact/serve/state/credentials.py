"""API keys: `intact_<id>_<secret>`, the secret of 256 bits. What is stored is an HMAC under a pepper kept elsewhere."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import string
from pathlib import Path
from typing import Final

from intact.crypto import Secret
from intact.errors import UsageError
from intact.seal.revisions import default_folder

ID_LENGTH: Final = 8
PEPPER_FILE: Final = "INTACT_PEPPER_FILE"
PEPPER: Final = "INTACT_PEPPER"
PEPPER_BYTES: Final = 32
LETTERS: Final = string.ascii_letters + string.digits

_KEY = re.compile(r"intact_([A-Za-z0-9]{8})_[A-Za-z0-9_-]{43}")
_PEPPER = re.compile(rb"[0-9a-fA-F]{64}")


def new_key() -> tuple[str, Secret]:
    """Return the id and the text of a fresh key."""
    id_ = "".join(secrets.choice(LETTERS) for _ in range(ID_LENGTH))
    return id_, Secret(f"intact_{id_}_{secrets.token_urlsafe(32)}".encode())


def id_of(text: str) -> str | None:
    """Return the id of a key; None where `text` cannot be one."""
    found = _KEY.fullmatch(text)
    return None if found is None else found[1]


def digest(text: bytes, pepper: Secret) -> bytes:
    """Return what is stored of a key: HMAC-SHA256 under the pepper, so a copied database tells nothing."""
    return hmac.digest(pepper.value, b"key\0" + text, "sha256")


def fingerprint(pepper: Secret) -> str:
    """Return by what a pepper is known again, and nothing else."""
    return hmac.digest(pepper.value, b"which pepper\0", "sha256").hex()[:32]


def load_pepper(*, make: bool) -> Secret:
    """Return the pepper: of INTACT_PEPPER (64 hex digits), of the file INTACT_PEPPER_FILE, or of the user's own file.

    Args:
        make: Make the user's own file where there is none.

    Raises:
        UsageError: There is none, it is no pepper, or others may read its file.
    """
    given = os.environ.get(PEPPER)
    if given is not None:
        return _parse(given.encode(), PEPPER)
    named = os.environ.get(PEPPER_FILE)
    path = Path(named) if named else default_folder().parent / "serve" / "pepper.key"
    if make and not named:
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Write a fresh pepper where there is no file; whole or not at all."""
    if path.exists():
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(PEPPER_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # fails where another process was first, and then its pepper counts
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"cannot write pepper file {str(path)!a}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> Secret:
    """Return the pepper in a file that only its owner can read."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read(4 * PEPPER_BYTES)
    except OSError as error:
        raise UsageError(
            f"cannot read pepper file {str(path)!a}: {error.strerror}",
            hint=f"`intact apikeys new` makes it; or name it with {PEPPER_FILE}",
        ) from None
    # A file of root's that is lent to our group: how Kubernetes mounts a secret for a user that is not root.
    others = 0o037 if about.st_uid == 0 != os.geteuid() else 0o077
    if about.st_mode & others:
        raise UsageError(f"pepper file {str(path)!a} can be read by others", hint=f"chmod 600 {path}")
    return _parse(content, f"pepper file {str(path)!a}")


def _parse(content: bytes, where: str) -> Secret:
    """Return the pepper that is written as 64 hex digits."""
    if _PEPPER.fullmatch(content.strip()) is None:
        raise UsageError(
            f"{where} holds no pepper", hint="64 hex digits are one, such as `openssl rand -hex 32` prints"
        )
    return Secret(bytes.fromhex(content.strip().decode()))
