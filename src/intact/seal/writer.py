"""Writing an artifact."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from intact.crypto import Secret, SigningKey, sha256
from intact.crypto.chunked import seal
from intact.errors import UsageError
from intact.seal import layout, signing, weights, wrapping
from intact.seal.derivation import Keyring
from intact.seal.header import Header, TensorSpec
from intact.seal.manifest import FORMAT, SUITE_PLAIN, SUITE_SEALED, Blob, Entry, Manifest, is_artifact_id
from intact.seal.payload import Payload
from intact.seal.recipient import Recipient
from intact.seal.staging import staged, write_file
from intact.seal.tensors import store
from intact.wire import encode
from intact.wire.canonical import SAFE_INTEGER


def write(
    payload: Payload,
    out: Path,
    *,
    recipients: Sequence[Recipient] = (),
    signer: SigningKey | None = None,
    artifact: str | None = None,
    revision: int = 1,
) -> Manifest:
    """Write `payload` as the artifact `out`, whole or not at all.

    Args:
        payload: What to write.
        out: Path of the new directory; its parent exists.
        recipients: Who may open it; with none it is not encrypted.
        signer: Who vouches for it; with none it is not signed.
        artifact: Identity, 32 hex digits, to make a new revision of an older artifact; fresh when None.
        revision: Counts up from 1.

    Returns:
        The manifest as written.

    Raises:
        UsageError: `out` exists, a tensor or value cannot be stored, the recipients do not go together, or the system
            refuses to write. Nothing is left behind then, nor after any other error.
    """
    artifact = secrets.token_hex(16) if artifact is None else artifact
    if not is_artifact_id(artifact) or not 1 <= revision <= SAFE_INTEGER:
        raise UsageError(f"artifact {artifact!a:.40}, revision {revision}: wanted 32 hex digits, and a count from 1")
    tensors = store(payload.program) if payload.stored is None else payload.stored
    specs = [each.spec for each in tensors]
    lineage = encode(payload.lineage)
    header = _header(payload, specs, lineage)
    keyring, keys = None, []
    if recipients:
        keyring = Keyring(data_key=Secret.random(wrapping.DATA_KEY_BYTES), artifact=artifact, revision=revision)
        header = seal(keyring.header, header)
        keys = keyring.tensors((spec.dtype, spec.shape) for spec in specs)
    with staged(out) as part:
        entries = weights.write(part / layout.WEIGHTS, tensors, keys)
        manifest = _manifest(artifact, revision, keyring, header, lineage, entries, payload.card)
        files = {manifest.header_name: header, layout.LINEAGE: lineage, layout.MANIFEST: manifest.to_bytes()}
        if keyring is not None:
            files[layout.KEYS] = wrapping.wrap(keyring.data_key, recipients)
        if signer is not None:
            files[layout.SIGNATURE] = signing.sign(files[layout.MANIFEST], signer)
        _write_files(part, files)
    return manifest


def _header(payload: Payload, specs: Sequence[TensorSpec], lineage: bytes) -> bytes:
    """Return the plaintext of the header file."""
    header = Header(
        tensors=tuple(specs),
        metadata=payload.header,
        card_sha256=sha256(encode(payload.card)),
        lineage_sha256=sha256(lineage),
    )
    return header.to_bytes(payload.program.model)


def _manifest(
    artifact: str,
    revision: int,
    keyring: Keyring | None,
    header: bytes,
    lineage: bytes,
    entries: Sequence[Entry],
    card: Mapping[str, object],
) -> Manifest:
    """Return the manifest of files with these contents."""
    return Manifest(
        format=FORMAT,
        suite=SUITE_PLAIN if keyring is None else SUITE_SEALED,
        artifact=artifact,
        revision=revision,
        key_commitment=None if keyring is None else keyring.commitment,
        header=Blob(size=len(header), sha256=sha256(header)),
        lineage=Blob(size=len(lineage), sha256=sha256(lineage)),
        tensors=tuple(entries),
        card=card,
    )


def _write_files(part: Path, files: Mapping[str, bytes]) -> None:
    """Write each of `files` into `part`.

    Raises:
        UsageError: One is larger than a reader would take.
    """
    for name, content in files.items():
        if len(content) > layout.LIMITS[name]:
            raise UsageError(f"{name} would have {len(content)} bytes, {layout.LIMITS[name]} are allowed")
        write_file(part / name, [content])
