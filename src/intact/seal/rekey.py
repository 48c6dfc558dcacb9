"""Who may open an artifact that is there already: recipients added and removed, or everything under a new key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from intact.errors import UsageError
from intact.seal import layout, wrapping, writer
from intact.seal.derivation import Keyring
from intact.seal.entries import Entry
from intact.seal.folder import Folder, open_folder
from intact.seal.manifest import Manifest
from intact.seal.reader import read
from intact.seal.recipient import Identity, Recipient
from intact.seal.replacing import locked
from intact.seal.signing import Signer
from intact.seal.staging import replace_file
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
) -> Manifest:
    """Encrypt the artifact at `path` anew, under a fresh data key, for `recipients` only: the next revision of it.

    Old keys do not open the new revision. Old copies of the artifact stay as open as they were. The plaintext is in
    memory only. The new artifact takes the old one's place in one step: a crash at any moment leaves one of them,
    whole. The policy goes along, and is not enforced here. Signatures of others over the old revision are gone.

    Args:
        path: The artifact's directory.
        recipients: Who may open it from now on; at least one.
        identities: One that opens it now; any one.
        signer: Who vouches for the new revision; with none it is not signed.
        signers: Whose signature the old one must bear; any one of a list.
        allow_unsigned: Take the old one whoever made it.
        out: Write the new one here, and leave the old one.

    Returns:
        The new manifest.

    Raises:
        UsageError: There is no artifact, it is not sealed, no recipient is given, or it cannot be written.
        AccessError: No identity opens it, or it is not signed by one of `signers`.
        IntegrityError: It is not what its owner made.
    """
    if not recipients:
        raise UsageError("no recipient was named for the new key", hint="name everybody who shall open it from now on")
    with locked(path):
        with open_folder(path) as folder:
            _refuse_plain(folder)
        payload = read(path, identities=identities, signers=signers, allow_unsigned=allow_unsigned, conditions=None)
        assert payload.source is not None  # it was read
        old = payload.source.manifest
        return writer.write(
            payload,
            path if out is None else out,
            recipients=recipients,
            signer=signer,
            artifact=old.artifact,
            revision=old.revision + 1,
            replace=out is None,
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
