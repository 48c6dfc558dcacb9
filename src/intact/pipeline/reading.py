"""Opening an artifact to look into it, not to use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intact import seal
from intact.pipeline import given


def read_to_compare(
    path: Path | str,
    *,
    identity: seal.Identity | Sequence[seal.Identity] = (),
    signer: seal.Trust | seal.Leaf | Sequence[seal.Leaf] = (),
    allow_unsigned: bool = False,
) -> seal.Payload:
    """Open an artifact, whatever its policy says: nobody runs it, and nothing is remembered.

    Args:
        path: The artifact's folder.
        identity: Key or keys to open it with; not needed where it is not encrypted.
        signer: Who may have signed it, as `intact.open` takes it.
        allow_unsigned: Accept what no named key signed.

    Raises:
        UsageError, AccessError, IntegrityError: As `intact.open`.
    """
    return seal.read(
        Path(path),
        identities=given.identities(identity),
        signers=given.signers(signer),
        allow_unsigned=allow_unsigned,
        conditions=None,
    )
