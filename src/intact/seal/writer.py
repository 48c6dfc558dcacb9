"""Writing an artifact."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from intact.crypto import HASHERS, Secret, blake3, sha256
from intact.crypto.chunked import seal
from intact.errors import UsageError
from intact.seal import layout, signing, statement, weights, wrapping
from intact.seal.derivation import Keyring
from intact.seal.header import Header, TensorSpec
from intact.seal.manifest import FORMAT, SUITE_PLAIN, SUITE_SEALED, Blob, Entry, Manifest, is_artifact_id
from intact.seal.payload import Payload
from intact.seal.policy import Policy
from intact.seal.recipient import Recipient
from intact.seal.replacing import swapped
from intact.seal.signing import Signer
from intact.seal.staging import staged, write_file
from intact.seal.tensors import store
from intact.wire import count_values, encode, to_json
from intact.wire.canonical import SAFE_INTEGER


def write(
    payload: Payload,
    out: Path,
    *,
    recipients: Sequence[Recipient] = (),
    signer: Signer | None = None,
    artifact: str | None = None,
    revision: int = 1,
    replace: bool = False,
) -> Manifest:
    """Write `payload` as the artifact `out`, whole or not at all.

    Args:
        payload: What to write.
        out: Path of the new directory; its parent exists.
        recipients: Who may open it; with none it is not encrypted.
        signer: Who vouches for it; with none it is not signed.
        artifact: Identity, 32 hex digits, to make a new revision of an older artifact; fresh when None.
        revision: Counts up from 1.
        replace: Put it in the place of the artifact at `out`, in one step.

    Returns:
        The manifest as written.

    Raises:
        UsageError: `out` exists (with `replace`: does not), a tensor or value cannot be stored, a recipient cannot be
            wrapped for, or the system refuses to write. Nothing is left behind then, nor after any other error.
        AccessError: A service that holds a recipient's key refuses.
    """
    artifact = secrets.token_hex(16) if artifact is None else artifact
    _refuse_impossible(artifact, revision, payload.policy)
    tensors = store(payload.program) if payload.stored is None else payload.stored
    specs = [each.spec for each in tensors]
    lineage = encode(payload.lineage)
    header = _header(payload, specs, lineage)
    keyring, keys, wrapped = None, [], b""
    if recipients:
        keyring = Keyring(data_key=Secret.random(wrapping.DATA_KEY_BYTES), artifact=artifact, revision=revision)
        wrapped = wrapping.wrap(keyring, recipients)
        header = seal(keyring.header, header)
        keys = keyring.tensors((spec.dtype, spec.shape) for spec in specs)
    with swapped(out) if replace else staged(out) as part:
        whole = None if signer is None else HASHERS[statement.ALGORITHM]()
        entries = weights.write(part / layout.WEIGHTS, tensors, keys, whole)
        manifest = _manifest(artifact, revision, keyring, header, lineage, entries, payload)
        files = {manifest.header_name: header, layout.LINEAGE: lineage, layout.MANIFEST: manifest.to_bytes()}
        loose = {} if keyring is None else {layout.KEYS: wrapped}
        if signer is not None and whole is not None:
            digests = {layout.WEIGHTS: whole.hexdigest()} | {name: sha256(data) for name, data in files.items()}
            loose |= signing.files([signing.sign(statement.write(artifact, digests), signer)])
        _write_files(part, files | loose)
    return manifest


def _refuse_impossible(artifact: str, revision: int, policy: Policy) -> None:
    """Raise UsageError where no artifact can have this identity, revision and policy."""
    if not is_artifact_id(artifact) or not 1 <= revision <= SAFE_INTEGER:
        raise UsageError(f"artifact {artifact!a:.40}, revision {revision}: wanted 32 hex digits, and a count from 1")
    if (policy.minimum_revision or 1) > revision:
        raise UsageError(
            f"revision {revision} withdraws all below {policy.minimum_revision}, itself among them",
            hint=f"give it revision {policy.minimum_revision} or a higher one",
        )


def _header(payload: Payload, specs: Sequence[TensorSpec], lineage: bytes) -> bytes:
    """Return the plaintext of the header file."""
    header = Header(
        tensors=tuple(specs),
        metadata=payload.header,
        card_blake3=blake3(encode(payload.card)),
        lineage_blake3=blake3(lineage),
        policy_blake3=blake3(encode(to_json(payload.policy))),
    )
    return header.to_bytes(payload.program.model)


def _manifest(
    artifact: str,
    revision: int,
    keyring: Keyring | None,
    header: bytes,
    lineage: bytes,
    entries: Sequence[Entry],
    payload: Payload,
) -> Manifest:
    """Return the manifest of files with these contents."""
    return Manifest(
        format=FORMAT,
        suite=SUITE_PLAIN if keyring is None else SUITE_SEALED,
        artifact=artifact,
        revision=revision,
        key_commitment=None if keyring is None else keyring.commitment,
        header=Blob(size=len(header), blake3=blake3(header)),
        lineage=Blob(size=len(lineage), blake3=blake3(lineage)),
        tensors=tuple(entries),
        card=payload.card,
        policy=payload.policy,
    )


def _write_files(part: Path, files: Mapping[str, bytes]) -> None:
    """Write each of `files` into `part`.

    Raises:
        UsageError: One is larger than a reader would take, or holds more values.
    """
    for name, content in files.items():
        if len(content) > layout.LIMITS[name]:
            raise UsageError(f"{name} would have {len(content)} bytes, {layout.LIMITS[name]} are allowed")
        limit = layout.most_values(len(content))
        if name in (layout.MANIFEST, layout.LINEAGE) and count_values(content) > limit:
            raise UsageError(f"{name} would have more than the {limit} values allowed", hint="say less in it")
        write_file(part / name, [content])
