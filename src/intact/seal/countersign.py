"""Signing an artifact that is there already: the first signature, or one more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intact.crypto import CertifiedKey
from intact.errors import UsageError
from intact.seal import layout, signing, statement
from intact.seal.bundle import PAYLOAD_TYPE, Bundle
from intact.seal.folder import open_folder
from intact.seal.reader import accept, bundles, check_bytes
from intact.seal.replacing import locked
from intact.seal.signing import Signer
from intact.seal.staging import replace_file
from intact.seal.trust import Leaf, Trust


def countersign(
    path: Path,
    signer: Signer,
    *,
    signers: Trust | Sequence[Leaf] = (),
    allow_unsigned: bool = False,
) -> int:
    """Add the signature of `signer` to the artifact at `path`, once every byte of it is what it says it is.

    Args:
        path: The artifact's directory.
        signer: Who signs now.
        signers: Whose signatures it must bear already; any one of a list.
        allow_unsigned: Sign whatever is there, whoever made it.

    Returns:
        How many signatures there are now.

    Raises:
        UsageError: There is no artifact, it has this signature or too many already, or it cannot be written.
        AccessError: Unsigned, or signed by strangers.
        IntegrityError: Anything that does not hold.
    """
    with locked(path), open_folder(path) as folder:
        manifest, accepted = accept(folder, signers, allow_unsigned=allow_unsigned)
        digests = check_bytes(folder, manifest, accepted)
        there = bundles(folder)
        _refuse_twice(there, signer)
        if len(there) > layout.MOST_COUNTERSIGNATURES:
            raise UsageError(f"the artifact has {len(there)} signatures, and no room for more")
        payload = statement.write(manifest.artifact, digests)
        made = signing.files([*there, signing.sign(payload, signer)])
        name = layout.COUNTERSIGNATURES if there else layout.SIGNATURE
        if len(made[name]) > layout.LIMITS[name]:
            raise UsageError(f"{name} would have {len(made[name])} bytes, {layout.LIMITS[name]} are allowed")
        replace_file(path / name, made[name])
    return len(there) + 1


def _refuse_twice(there: Sequence[Bundle], signer: Signer) -> None:
    """Refuse to sign again with a key.

    Raises:
        UsageError: It has signed.
        IntegrityError: A signature claims to be its, and is not.
    """
    for each in there:
        if each.claims == signing.key_id(signer):
            key = signer.key if isinstance(signer, CertifiedKey) else signer
            key.verifying_key.verify(each.signature, PAYLOAD_TYPE, each.payload)
            raise UsageError("this key has signed the artifact already")
