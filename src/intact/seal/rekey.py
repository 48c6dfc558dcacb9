"""Who may open an artifact that is there already: recipients added and removed, or everything under a new key."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from intact.errors import IntegrityError, UsageError
from intact.seal import layout, wrapping, writer
from intact.seal.conditions import Conditions
from intact.seal.derivation import Keyring
from intact.seal.entries import Entry
from intact.seal.folder import Folder, open_folder
from intact.seal.manifest import Manifest
from intact.seal.payload import Payload
from intact.seal.reader import read
from intact.seal.recipient import Identity, Recipient
from intact.seal.replacing import locked
from intact.seal.revisions import Revisions
from intact.seal.signing import Signer
from intact.seal.staging import replace_file
from intact.seal.tensors import store
from intact.seal.trust import Leaf, Trust
from intact.seal.wrapping import KeyFile

MIN_PREFIX_CHARS = 4


def add_recipients(path: Path, recipients: Sequence[Recipient], *, identities: Sequence[Identity]) -> tuple[Entry, ...]:
    """Let more recipients open the artifact at `path`. Only keys.json changes: nothing is encrypted or signed anew.

    A crash at any moment leaves the old keys.json or the new one.

    Args:
        path: The artifact's directory.
        recipients: Who may open it from now on, besides those who may already.
        identities: One that opens it; any one.

    Returns:
        The new entries.

    Raises:
        UsageError: There is no artifact, it is not sealed, one of `recipients` can open it already, or it cannot be
            written.
        AccessError: No identity opens it.
        IntegrityError: keys.json does not belong to the manifest, or was changed without the key.
    """
    made: list[Entry] = []

    def change(keyring: Keyring, entries: Sequence[Entry]) -> Sequence[Entry]:
        there = {(entry.kind, entry.id) for entry in entries}
        for recipient in recipients:
            if (recipient.kind, recipient.id) in there:
                raise UsageError(f"recipient {recipient.id} can open the artifact already", hint="leave it out")
        made.extend(wrapping.wrap_one(keyring, recipient) for recipient in recipients)
        return [*entries, *made]

    _rewrap(path, identities, change)
    return tuple(made)


def remove_recipients(path: Path, names: Sequence[str], *, identities: Sequence[Identity]) -> tuple[Entry, ...]:
    """Take recipients out of keys.json of the artifact at `path`.

    This does not revoke: who has opened the artifact before may have kept the data key, or an old keys.json. `rekey`
    does.

    Args:
        path: The artifact's directory.
        names: For each, its id, the beginning of it that no other has, or its label.
        identities: One that opens it; any one.

    Returns:
        The entries removed.

    Raises:
        UsageError: A name fits no recipient or several, none would be left, or it cannot be written.
        AccessError: No identity opens it.
        IntegrityError: keys.json does not belong to the manifest, or was changed without the key.
    """
    gone: list[Entry] = []

    def change(_: Keyring, entries: Sequence[Entry]) -> Sequence[Entry]:
        gone.extend(dict.fromkeys(_named(name, entries) for name in names))
        left = [entry for entry in entries if entry not in gone]
        if not left:
            raise UsageError("no recipient would be left, and nobody could open it", hint="add another one before")
        return left

    _rewrap(path, identities, change)
    return tuple(gone)


def rekey(
    path: Path,
    recipients: Sequence[Recipient],
    *,
    identities: Sequence[Identity],
    signer: Signer | None = None,
    signers: Trust | Sequence[Leaf] = (),
    allow_unsigned: bool = False,
    out: Path | None = None,
    revisions: Revisions | None = None,
    allow_older: bool = False,
) -> Manifest:
    """Encrypt the artifact at `path` anew, under a fresh data key, for `recipients` only: the next revision of it.

    Old keys do not open the new revision. Old copies of the artifact stay as open as they were. The plaintext is in
    memory only. The new artifact takes the old one's place in one step: a crash at any moment leaves one of them,
    whole. The policy goes along, and is not enforced here. Signatures of others over the old revision are gone.

    In place, it takes neither the signature away, nor the caller's own access. With `revisions`, the new revision comes
    after all that were seen, and what was withdrawn stays so.

    Args:
        path: The artifact's directory.
        recipients: Who may open it from now on; at least one.
        identities: One that opens it now; any one.
        signer: Who vouches for the new revision; with none it is not signed.
        signers: Whose signature the old one must bear; any one of a list.
        allow_unsigned: Take the old one whoever made it; also, leave a signed one unsigned.
        out: Write the new one here, and leave the old one.
        revisions: What was opened before; None to do without protection against older revisions. The new revision is
            written down there once it is, where it is signed.
        allow_older: Take an old one that is older than one opened before, unless it is withdrawn.

    Returns:
        The new manifest.

    Raises:
        UsageError: There is no artifact, it is not sealed, no recipient is given, or it cannot be written. In place
            also: its signature would be lost, or none of `identities` would open it.
        AccessError: No identity opens it, it is not signed by one of `signers`, or it is older than one opened before.
        IntegrityError: It is not what its owner made, or what is remembered is damaged.
    """
    if not recipients:
        raise UsageError("no recipient was named for the new key", hint="name everybody who shall open it from now on")
    with locked(path):
        with open_folder(path) as folder:
            _refuse_plain(folder)
            if out is None and signer is None and folder.signed and not allow_unsigned:
                raise UsageError(
                    "artifact is signed, and would be left without a signature",
                    hint="give the key that signs it (--sign), or write elsewhere (--out)",
                )
        if out is None:
            _refuse_lockout(recipients, identities)
        payload = read(path, identities=identities, signers=signers, allow_unsigned=allow_unsigned, conditions=None)
        payload, revision = _follow(_stored(payload), revisions, allow_older=allow_older)
        assert payload.source is not None  # it was read
        made = writer.write(
            payload,
            path if out is None else out,
            recipients=recipients,
            signer=signer,
            artifact=payload.source.manifest.artifact,
            revision=revision,
            replace=out is None,
        )
    if revisions is not None and signer is not None:
        revisions.remember(made.artifact, made.revision, made.policy.minimum_revision or 1, time.time())
    return made


def _follow(payload: Payload, revisions: Revisions | None, *, allow_older: bool) -> tuple[Payload, int]:
    """Return what was read, under its policy and every withdrawal seen, and the revision that comes after all seen.

    Raises:
        AccessError: It is older than one opened before, or withdrawn.
        IntegrityError: What is remembered is damaged.
        UsageError: What is remembered cannot be read or written.
    """
    assert payload.source is not None  # it was read
    old = payload.source.manifest
    if revisions is None:
        return payload, old.revision + 1
    revisions.check(old.artifact, old.revision, allow_older=allow_older)
    Conditions(revisions=revisions).remember(payload.source)  # it opened; and better now than never where that fails
    seen = revisions.recall(old.artifact)
    policy = replace(payload.policy, minimum_revision=seen.withdraw(payload.policy.minimum_revision))
    return replace(payload, policy=policy), seen.after(old.revision)


def _stored(payload: Payload) -> Payload:
    """Return what was read, stored anew: the same tensors that its header names, by their digests.

    Raises:
        IntegrityError: A tensor is not the one its header names.
    """
    assert payload.source is not None  # it was read
    wanted = {spec.name: spec.blake3 for spec in payload.source.specs}
    stored = store(payload.program)
    for each in stored:
        if each.spec.blake3 != wanted[each.spec.name]:
            raise IntegrityError(f"tensor {each.spec.name!a:.80} is not the one that the header names")
    return replace(payload, stored=stored)


def _refuse_lockout(recipients: Sequence[Recipient], identities: Sequence[Identity]) -> None:
    """Raise UsageError where none of `identities` will open what is wrapped for `recipients`.

    A passphrase among the recipients is one that the caller has.
    """
    ids = {(identity.kind, identity.id) for identity in identities}
    if identities and not any(each.secret is not None or (each.kind, each.id) in ids for each in recipients):
        raise UsageError(
            "none of the identities given would open the artifact any more",
            hint="name your own recipient too, or write elsewhere (--out)",
        )


def _rewrap(
    path: Path, identities: Sequence[Identity], change: Callable[[Keyring, Sequence[Entry]], Sequence[Entry]]
) -> None:
    """Replace keys.json of the artifact at `path` by one of the entries that `change` makes of its own."""
    with locked(path):
        with open_folder(path) as folder:
            _refuse_plain(folder)
            manifest, data = Manifest.from_bytes(folder.read(layout.MANIFEST)), folder.read(layout.KEYS)
        keyring = wrapping.unlock(data, manifest, identities)
        entries = change(keyring, KeyFile.from_bytes(data).recipients)
        replace_file(path / layout.KEYS, KeyFile.of(entries, keyring).to_bytes())


def _refuse_plain(folder: Folder) -> None:
    """Raise UsageError unless the artifact is sealed."""
    if not folder.sealed:
        raise UsageError(
            "artifact is not sealed, so it has no recipients", hint="build it again with --recipient to seal it"
        )


def _named(name: str, entries: Sequence[Entry]) -> Entry:
    """Return the entry that `name` fits.

    Raises:
        UsageError: There is none, or more than one.
    """
    found = [
        entry
        for entry in entries
        if entry.label == name or (len(name) >= MIN_PREFIX_CHARS and entry.id.startswith(name))
    ]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} recipients are called {name!a:.80}, wanted one",
            hint="give an id or a label that `intact recipients list` shows",
        )
    return found[0]
