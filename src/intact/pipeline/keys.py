"""Keys as a caller names them: files, texts and passphrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    signer: seal.Signer
    verifier: seal.Leaf


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


def trusted(sources: Sequence[Path | str], needed: int | None = None) -> seal.Trust | None:
    """Read whose signatures are accepted from files; None where there are none.

    Args:
        sources: Public keys, or certificates of authorities.
        needed: How many of them must have signed; one where it is None.

    Raises:
        UsageError: A file cannot be read, one is named twice, or more are needed than are named.
    """
    leaves = [seal.load_verifying_key(source) for source in sources]
    if not leaves and needed is None:
        return None
    return seal.threshold(needed or 1, *leaves)


def recipients(
    sources: Sequence[Path | str], *, passphrase: str | None = None, label: str = ""
) -> list[seal.Recipient]:
    """Read recipients from files or texts, a passphrase beside them; all of them get the label."""
    found = [replace(seal.load_recipient(source), label=label) for source in sources]
    return found if passphrase is None else [*found, seal.passphrase_recipient(passphrase, label=label)]


def identities(sources: Sequence[Path | str], *, passphrase: str | None = None) -> list[seal.Identity]:
    """Read identities from files or texts."""
    found = [seal.load_identity(source) for source in sources]
    return found if passphrase is None else [*found, seal.passphrase_identity(passphrase)]
