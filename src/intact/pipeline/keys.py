"""Keys as a caller names them: files, texts and passphrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intact import seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A fresh set of keys.

    Args:
        identity: Opens what `recipient` was given. Private.
        recipient: Who may open. Public.
        signer: Signs. Private.
        verifier: Tells whether `signer` signed. Public.
    """

    identity: seal.Identity
    recipient: seal.Recipient
    signer: seal.SigningKey
    verifier: seal.VerifyingKey


def new_keys(out: Path | str) -> Keys:
    """Make and write the four key files into the folder `out`, and return the keys.

    Raises:
        UsageError: One of the files exists already, or the system refuses to write.
    """
    folder = Path(out)
    seal.new_keys(folder)
    return Keys(
        identity=seal.load_identity(folder / "identity.key"),
        recipient=seal.load_recipient(folder / "identity.pub"),
        signer=seal.load_signing_key(folder / "signing.key"),
        verifier=seal.load_verifying_key(folder / "signing.pub"),
    )


def recipients(sources: Sequence[Path | str], *, passphrase: str | None = None) -> list[seal.Recipient]:
    """Read recipients from files or texts; a passphrase must be the only one (age allows no other beside it)."""
    found = [seal.load_recipient(source) for source in sources]
    return found if passphrase is None else [*found, seal.passphrase_recipient(passphrase)]


def identities(sources: Sequence[Path | str], *, passphrase: str | None = None) -> list[seal.Identity]:
    """Read identities from files or texts."""
    found = [seal.load_identity(source) for source in sources]
    return found if passphrase is None else [*found, seal.passphrase_identity(passphrase)]
