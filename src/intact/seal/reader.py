"""Opening, verifying and looking at an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from intact.crypto import blake3
from intact.crypto.buffer import Buffer
from intact.crypto.chunked import refusal, unseal
from intact.errors import IntegrityError
from intact.graph import Program
from intact.seal import layout, signing, statement, weights, wrapping
from intact.seal.bundle import Bundle
from intact.seal.conditions import ORDINARY, Conditions
from intact.seal.derivation import Keyring
from intact.seal.entries import Entry
from intact.seal.folder import Folder, open_folder
from intact.seal.header import Header, TensorSpec, split
from intact.seal.manifest import Blob, Manifest
from intact.seal.payload import Payload
from intact.seal.recipient import Identity
from intact.seal.source import Source
from intact.seal.trust import Leaf, Trust
from intact.wire import decode, encode, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an artifact says of itself. Nothing here is verified: anyone may have written it.

    Args:
        manifest: The manifest.
        lineage: The lineage statement.
        signed_by: Who signed, as each signature claims: SHA-256 of the PEM of a key, or of a certificate, in hex.
        recipients: How many recipients keys.json lists; 0 when not sealed.
        sizes: Size of each file in bytes, by name.
        tensors: What the tensors are and how they are stored; None when sealed.
    """

    manifest: Manifest
    lineage: Mapping[str, Any]
    signed_by: tuple[str, ...]
    recipients: int
    sizes: Mapping[str, int]
    tensors: tuple[TensorSpec, ...] | None


def read(
    path: Path,
    *,
    identities: Sequence[Identity] = (),
    signers: Trust | Sequence[Leaf] = (),
    allow_unsigned: bool = False,
    conditions: Conditions | None = ORDINARY,
) -> Payload:
    """Open the artifact at `path`. Nothing is returned before all of this holds:

    1. the files are the right ones, regular, and within their limits;
    2. the signature over the manifest is by one of `signers`;
    3. the manifest is of this format, and fits the files;
    4. the policy allows it under `conditions`, and no newer revision was opened before;
    5. one of `identities` unwraps the data key, it is the one the manifest commits to, and keys.json was made with it;
    6. header and lineage match their digests, the header is authentic, and it fits card, lineage, policy and manifest;
    7. every segment of every tensor matches its digest and, when sealed, every chunk is authentic.

    Args:
        path: The artifact's directory.
        identities: Keys or passphrases to open it with; any one. Not needed when it is not sealed.
        signers: Keys and authorities whose signature is accepted; any one of a list.
        allow_unsigned: Accept an artifact without a signature, or signed by a key that is not named.
        conditions: What the policy is held against; None does not enforce it. Remembering this revision is left to the
            caller, who knows when it has proven itself: `conditions.remember(payload.source)`.

    Returns:
        The payload. Its tensors are read-only, aligned to 64 bytes, in memory of their own.

    Raises:
        UsageError: There is no artifact at `path`.
        AccessError: Unsigned, signed by a stranger, against the policy, an older revision, or no identity fits.
        IntegrityError: Anything else that does not hold. All that can fail under the data key gives the same error.
    """
    with open_folder(path) as folder:  # 1
        opened = _open(path, folder, identities, signers, conditions, allow_unsigned=allow_unsigned)  # 2 to 6
        tensors = opened.source.read_from(folder)  # 7
    return Payload(
        program=Program(model=opened.graph, tensors=tensors),
        header=opened.header.metadata,
        card=opened.source.manifest.card,
        lineage=opened.lineage,
        policy=opened.source.manifest.policy,
        source=opened.source,
    )


def read_tensors(
    path: Path,
    names: Iterable[str],
    *,
    identities: Sequence[Identity] = (),
    signers: Trust | Sequence[Leaf] = (),
    allow_unsigned: bool = False,
    conditions: Conditions | None = ORDINARY,
) -> tuple[Source, dict[str, NDArray[Any]]]:
    """Open the artifact at `path` for some of its tensors: as `read`, but step 7 looks at these and at no other.

    Args:
        path: The artifact's directory.
        names: The tensors wanted.
        identities: As for `read`.
        signers: As for `read`.
        allow_unsigned: As for `read`.
        conditions: As for `read`.

    Returns:
        Where they came from, and a read-only array for each name.

    Raises:
        UsageError: There is no artifact at `path`, or no tensor of that name in it.
        AccessError: As for `read`.
        IntegrityError: As for `read`, but for damage to other tensors, which is not noticed.
    """
    wanted = list(dict.fromkeys(names))
    with open_folder(path) as folder:
        opened = _open(path, folder, identities, signers, conditions, allow_unsigned=allow_unsigned)
        opened.source.refuse_unknown(wanted)
        return opened.source, opened.source.read_from(folder, wanted)


def verify(path: Path, *, signers: Trust | Sequence[Leaf]) -> Manifest:
    """Check everything about the artifact at `path` that needs no key: steps 1 to 3 of `read`, and every digest.

    keys.json is outside the signature and is not looked at, unless who signed included it.

    Args:
        path: The artifact's directory.
        signers: Keys and authorities whose signature is accepted; any one of a list.

    Returns:
        The manifest, signed by one of `signers`, and true of every byte on disk but those of keys.json.

    Raises:
        UsageError: There is no artifact at `path`.
        AccessError: Unsigned, or signed by a stranger.
        IntegrityError: Anything else that does not hold.
    """
    with open_folder(path) as folder:
        manifest, accepted = accept(folder, signers, allow_unsigned=False)
        check_bytes(folder, manifest, accepted)
    return manifest


def check_bytes(folder: Folder, manifest: Manifest, accepted: signing.Accepted) -> dict[str, str]:
    """Check every digest that needs no key, those of the manifest and those that were signed, in one pass.

    Returns:
        The SHA-256 of every file that is signed, taken of the very bytes that fit the manifest.

    Raises:
        IntegrityError: One does not fit.
    """
    claims = [resource for resources in accepted.resources for resource in resources.values()]
    names = (set(folder.sizes) - layout.UNSIGNED) | {claim.name for claim in claims}
    found = {
        name: statement.check(_pieces(folder, manifest, name), [claim for claim in claims if claim.name == name])
        for name in sorted(names)
    }
    return {name: digest for name, digest in found.items() if name not in layout.UNSIGNED}


def _pieces(folder: Folder, manifest: Manifest, name: str) -> Iterable[Buffer]:
    """Return the bytes of a file in order, each once it fits the manifest."""
    if name == layout.MANIFEST:
        return [manifest.to_bytes()]
    if name == layout.LINEAGE:
        return [encode(read_lineage(folder, manifest))]
    if name == manifest.header_name:
        return [read_blob(folder, name, manifest.header)]
    if name == layout.WEIGHTS:
        return weights.pieces(folder, manifest)
    return [folder.read(name)]  # not in the manifest: signed all the same by whoever named it


def inspect(path: Path) -> Inspection:
    """Return what the artifact at `path` says of itself, unverified.

    Raises:
        UsageError: There is no artifact at `path`.
        IntegrityError: The files are not those of an artifact, or manifest, lineage, signature or the header of a plain
            artifact cannot be read.
    """
    with open_folder(path) as folder:
        manifest = Manifest.from_bytes(folder.read(layout.MANIFEST))
        _refuse_other_suite(manifest, folder)
        return Inspection(
            manifest=manifest,
            lineage=read_lineage(folder, manifest),
            signed_by=tuple(each.claims for each in bundles(folder)),
            recipients=len(_recipients(folder)),
            sizes=dict(folder.sizes),
            tensors=None if manifest.sealed else _read_header(folder, manifest, None)[0].tensors,
        )


def list_recipients(path: Path) -> tuple[Entry, ...]:
    """Return who may open the artifact at `path`, as keys.json says, unverified; nobody is named when it is not sealed.

    Raises:
        UsageError: There is no artifact at `path`.
        IntegrityError: The files are not those of an artifact, or keys.json cannot be read.
    """
    with open_folder(path) as folder:
        return _recipients(folder)


def bundles(folder: Folder) -> tuple[Bundle, ...]:
    """Return the signatures of an artifact, unverified.

    Raises:
        IntegrityError: They cannot be read.
    """
    found = [folder.read(name) if name in folder.sizes else None for name in layout.SIGNATURES]
    return signing.read(*found)


def _recipients(folder: Folder) -> tuple[Entry, ...]:
    """Return the entries of keys.json; none when there is no such file."""
    return wrapping.KeyFile.from_bytes(folder.read(layout.KEYS)).recipients if folder.sealed else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An artifact of which all is accepted but the tensors."""

    source: Source
    header: Header
    graph: bytes
    lineage: Mapping[str, Any]


def _open(
    path: Path,
    folder: Folder,
    identities: Sequence[Identity],
    signers: Trust | Sequence[Leaf],
    conditions: Conditions | None,
    *,
    allow_unsigned: bool,
) -> _Opened:
    """Do steps 2 to 6 of `read`."""
    manifest, accepted = accept(folder, signers, allow_unsigned=allow_unsigned)  # 2, 3
    if conditions is not None:
        conditions.enforce(manifest)  # 4
    keyring = _unlock(folder, manifest, identities)  # 5
    lineage = read_lineage(folder, manifest)  # 6
    header, graph = _read_header(folder, manifest, keyring)
    source = Source(
        path=path.absolute(),  # the caller may change its directory later
        manifest=manifest,
        specs=header.tensors,
        keyring=keyring,
        signed=not allow_unsigned and bool(accepted.signers),
    )
    return _Opened(source=source, header=header, graph=graph, lineage=lineage)


def accept(
    folder: Folder, signers: Trust | Sequence[Leaf], *, allow_unsigned: bool
) -> tuple[Manifest, signing.Accepted]:
    """Return the manifest once its signatures are accepted and it fits the files that are there."""
    data = folder.read(layout.MANIFEST)
    accepted = signing.check(bundles(folder), data, set(folder.sizes), signers, allow_unsigned=allow_unsigned)
    manifest = Manifest.from_bytes(data)
    _refuse_other_suite(manifest, folder)
    return manifest, accepted


def _refuse_other_suite(manifest: Manifest, folder: Folder) -> None:
    """Raise IntegrityError unless the manifest goes with the files that are there."""
    if manifest.sealed != folder.sealed:
        raise IntegrityError("manifest.json is of another suite than the files beside it")


def _unlock(folder: Folder, manifest: Manifest, identities: Sequence[Identity]) -> Keyring | None:
    """Return the keys, or None when the artifact is not sealed."""
    return wrapping.unlock(folder.read(layout.KEYS), manifest, identities) if manifest.sealed else None


def read_blob(folder: Folder, name: str, blob: Blob) -> bytes:
    """Return the file `name` once it has the size and digest of `blob`."""
    if folder.sizes[name] != blob.size:
        raise IntegrityError(f"{name} has {folder.sizes[name]} bytes, manifest.json calls for {blob.size}")
    data = folder.read(name)
    if blake3(data) != blob.blake3:
        raise IntegrityError(f"{name} does not match its digest")
    return data


def read_lineage(folder: Folder, manifest: Manifest) -> Mapping[str, Any]:
    """Return the lineage statement."""
    data = read_blob(folder, layout.LINEAGE, manifest.lineage)
    limit = layout.LIMITS[layout.LINEAGE]
    lineage = decode(data, where=layout.LINEAGE, limit_bytes=limit, limit_values=layout.most_values(len(data)))
    if not isinstance(lineage, dict):
        raise IntegrityError(f"{layout.LINEAGE} is not an object")
    return lineage


def _read_header(folder: Folder, manifest: Manifest, keyring: Keyring | None) -> tuple[Header, bytes]:
    """Return the header and the graph, once they are authentic and fit what is public."""
    data: bytes | bytearray = read_blob(folder, manifest.header_name, manifest.header)
    if keyring is not None:
        data = unseal(keyring.header, data)
    try:
        header, graph = split(data)
        weights.check_kinds(manifest, header.tensors)
        if header.lineage_blake3 != manifest.lineage.blake3 or header.card_blake3 != blake3(encode(manifest.card)):
            raise IntegrityError("card or lineage are not those the header was made with")
        if header.policy_blake3 != blake3(encode(to_json(manifest.policy))):
            raise IntegrityError("the policy is not the one the header was made with")
    except IntegrityError:
        if manifest.sealed:
            raise refusal() from None
        raise
    return header, graph
