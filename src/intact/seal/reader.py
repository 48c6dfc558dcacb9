"""Opening, verifying and looking at an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact.crypto import Secret, VerifyingKey, sha256
from intact.crypto.chunked import refusal, unseal
from intact.errors import IntegrityError
from intact.graph import Program
from intact.seal import layout, signing, weights, wrapping
from intact.seal.derivation import Keyring
from intact.seal.folder import Folder, open_folder
from intact.seal.header import Header, TensorSpec, split
from intact.seal.manifest import Blob, Manifest
from intact.seal.payload import Payload
from intact.seal.recipient import Identity
from intact.wire import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an artifact says of itself. Nothing here is verified: anyone may have written it.

    Args:
        manifest: The manifest.
        lineage: The lineage statement.
        signed_by: SHA-256 of the key that model.sig claims, or None when there is no signature.
        recipients: How many recipients keys.age lists; 0 when not sealed.
        sizes: Size of each file in bytes, by name.
        tensors: What the tensors are and how they are stored; None when sealed.
    """

    manifest: Manifest
    lineage: Mapping[str, Any]
    signed_by: str | None
    recipients: int
    sizes: Mapping[str, int]
    tensors: tuple[TensorSpec, ...] | None


def read(
    path: Path,
    *,
    identities: Sequence[Identity] = (),
    signers: Sequence[VerifyingKey] = (),
    allow_unsigned: bool = False,
) -> Payload:
    """Open the artifact at `path`. Nothing is returned before all of this holds:

    1. the files are the right ones, regular, and within their limits;
    2. the signature over the manifest is by one of `signers`;
    3. the manifest is of this format, and fits the files;
    4. one of `identities` unwraps the data key, and it is the one the manifest commits to;
    5. header and lineage match their digests, the header is authentic, and it fits card, lineage and manifest;
    6. every segment of every tensor matches its digest and, when sealed, every chunk is authentic.

    Args:
        path: The artifact's directory.
        identities: Keys or passphrases to open it with; any one. Not needed when it is not sealed.
        signers: Keys whose signature is accepted; any one.
        allow_unsigned: Accept an artifact without a signature, or signed by a key that is not named.

    Returns:
        The payload. Its tensors are read-only, aligned to 64 bytes, in memory of their own.

    Raises:
        UsageError: There is no artifact at `path`.
        AccessError: Unsigned, signed by a stranger, or no identity fits.
        IntegrityError: Anything else that does not hold. All that can fail under the data key gives the same error.
    """
    with open_folder(path) as folder:  # 1
        manifest = _accept(folder, signers, allow_unsigned=allow_unsigned)  # 2, 3
        keyring = _unlock(folder, manifest, identities)  # 4
        lineage = _read_lineage(folder, manifest)  # 5
        header, graph = _read_header(folder, manifest, keyring)
        keys = keyring.tensors((spec.dtype, spec.shape) for spec in header.tensors) if keyring else []
        arrays = weights.read(folder, manifest, header.tensors, keys)  # 6
    tensors = {spec.name: array for spec, array in zip(header.tensors, arrays, strict=True)}
    return Payload(
        program=Program(model=graph, tensors=tensors), header=header.metadata, card=manifest.card, lineage=lineage
    )


def verify(path: Path, *, signers: Sequence[VerifyingKey]) -> Manifest:
    """Check everything about the artifact at `path` that needs no key: steps 1 to 3 of `read`, and every digest.

    keys.age is outside the signature and is not looked at.

    Args:
        path: The artifact's directory.
        signers: Keys whose signature is accepted; any one.

    Returns:
        The manifest, signed by one of `signers`, and true of every byte on disk but those of keys.age.

    Raises:
        UsageError: There is no artifact at `path`.
        AccessError: Unsigned, or signed by a stranger.
        IntegrityError: Anything else that does not hold.
    """
    with open_folder(path) as folder:
        manifest = _accept(folder, signers, allow_unsigned=False)
        _read_lineage(folder, manifest)
        _read_blob(folder, manifest.header_name, manifest.header)
        weights.check(folder, manifest)
    return manifest


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
        signed_by = signing.Signature.from_bytes(folder.read(layout.SIGNATURE)).key if folder.signed else None
        return Inspection(
            manifest=manifest,
            lineage=_read_lineage(folder, manifest),
            signed_by=signed_by,
            recipients=wrapping.count_recipients(folder.read(layout.KEYS)) if folder.sealed else 0,
            sizes=dict(folder.sizes),
            tensors=None if manifest.sealed else _read_header(folder, manifest, None)[0].tensors,
        )


def _accept(folder: Folder, signers: Sequence[VerifyingKey], *, allow_unsigned: bool) -> Manifest:
    """Return the manifest once its signature is accepted and it fits the files that are there."""
    data = folder.read(layout.MANIFEST)
    signature = folder.read(layout.SIGNATURE) if folder.signed else None
    signing.check(data, signature, signers, allow_unsigned=allow_unsigned)
    manifest = Manifest.from_bytes(data)
    _refuse_other_suite(manifest, folder)
    return manifest


def _refuse_other_suite(manifest: Manifest, folder: Folder) -> None:
    """Raise IntegrityError unless the manifest goes with the files that are there."""
    if manifest.sealed != folder.sealed:
        raise IntegrityError("manifest.json is of another suite than the files beside it")


def _unlock(folder: Folder, manifest: Manifest, identities: Sequence[Identity]) -> Keyring | None:
    """Return the keys, or None when the artifact is not sealed."""
    if not manifest.sealed:
        return None
    data_key = wrapping.unwrap(folder.read(layout.KEYS), identities)
    keyring = Keyring(data_key=data_key, artifact=manifest.artifact, revision=manifest.revision)
    if Secret(keyring.commitment.encode()) != Secret((manifest.key_commitment or "").encode()):
        raise IntegrityError(
            "keys.age holds the key of another artifact", hint="put back the keys.age made for this one"
        )
    return keyring


def _read_blob(folder: Folder, name: str, blob: Blob) -> bytes:
    """Return the file `name` once it has the size and digest of `blob`."""
    if folder.sizes[name] != blob.size:
        raise IntegrityError(f"{name} has {folder.sizes[name]} bytes, manifest.json calls for {blob.size}")
    data = folder.read(name)
    if sha256(data) != blob.sha256:
        raise IntegrityError(f"{name} does not match its digest")
    return data


def _read_lineage(folder: Folder, manifest: Manifest) -> Mapping[str, Any]:
    """Return the lineage statement."""
    data = _read_blob(folder, layout.LINEAGE, manifest.lineage)
    lineage = decode(data, where=layout.LINEAGE, limit_bytes=layout.LIMITS[layout.LINEAGE])
    if not isinstance(lineage, dict):
        raise IntegrityError(f"{layout.LINEAGE} is not an object")
    return lineage


def _read_header(folder: Folder, manifest: Manifest, keyring: Keyring | None) -> tuple[Header, bytes]:
    """Return the header and the graph, once they are authentic and fit what is public."""
    data: bytes | bytearray = _read_blob(folder, manifest.header_name, manifest.header)
    if keyring is not None:
        data = unseal(keyring.header, data)
    try:
        header, graph = split(data)
        weights.check_kinds(manifest, header.tensors)
        if header.lineage_sha256 != manifest.lineage.sha256 or header.card_sha256 != sha256(encode(manifest.card)):
            raise IntegrityError("card or lineage are not those the header was made with")
    except IntegrityError:
        if manifest.sealed:
            raise refusal() from None
        raise
    return header, graph
