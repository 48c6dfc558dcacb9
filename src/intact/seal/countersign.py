"""Signing an artifact that is there already: the first signature, or one more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from intact.errors import UsageError
from intact.seal import layout, signing, statement
from intact.seal.folder import Folder, open_folder
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
        check_bytes(folder, manifest, accepted)
        there = bundles(folder)
        if any(each.claims == signing.key_id(signer) for each in there):
            raise UsageError("this key has signed the artifact already")
        if len(there) > layout.MOST_COUNTERSIGNATURES:
            raise UsageError(f"the artifact has {len(there)} signatures, and no room for more")
        payload = statement.write(manifest.artifact, _digests(folder))
        made = signing.files([*there, signing.sign(payload, signer)])
        name = layout.COUNTERSIGNATURES if there else layout.SIGNATURE
        replace_file(path / name, made[name])
    return len(there) + 1


def _digests(folder: Folder) -> dict[str, str]:
    found = {}
    for name in sorted(set(folder.sizes) - layout.UNSIGNED):
        hasher = hashlib.sha256()
        for piece in folder.pieces(name):
            hasher.update(piece)
        found[name] = hasher.hexdigest()
    return found
