"""The data key in keys.json: wrapped for recipients, unwrapped by identities."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intact.crypto import Secret
from intact.errors import AccessError, IntegrityError, UsageError
from intact.seal import entries, layout
from intact.seal.derivation import Keyring
from intact.seal.entries import Entry
from intact.seal.manifest import Manifest
from intact.seal.recipient import ID_CHARS, Identity, Kind, Recipient
from intact.seal.recipients import kinds
from intact.wire import decode, encode, from_json, to_json

DATA_KEY_BYTES: Final = 32
MAC_CHARS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """The content of keys.json.

    Args:
        mac: What the data key makes of all recipients, 64 hex digits: who does not have the key cannot change any.
        recipients: An entry for each.
    """

    mac: str
    recipients: tuple[Entry, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyFile:
        """Read keys.json, and check everything in it that needs no key.

        Raises:
            IntegrityError: It is no canonical record of this form, or beyond a limit.
        """
        limit = layout.LIMITS[layout.KEYS]
        found = from_json(cls, decode(data, where=layout.KEYS, limit_bytes=limit), where=layout.KEYS)
        entries.check(found.recipients)
        if not entries.is_hex(found.mac, MAC_CHARS):
            raise IntegrityError(f"{layout.KEYS} has a mac that is not {MAC_CHARS} hex digits")
        return found

    @classmethod
    def of(cls, recipients: Sequence[Entry], keyring: Keyring) -> KeyFile:
        """Return the file of these entries.

        Raises:
            UsageError: There are none, too many, or one comes twice.
        """
        try:
            entries.check(recipients)
        except IntegrityError as error:
            raise UsageError(
                error.message.replace(" has ", " would have ").replace(" names ", " would name "),
                hint="give each recipient once, and not too many",
            ) from None
        return cls(mac=_mac(recipients, keyring).value.hex(), recipients=tuple(recipients))

    def to_bytes(self) -> bytes:
        """Return keys.json.

        Raises:
            UsageError: It would be larger than a reader takes.
        """
        data, limit = encode(to_json(self)), layout.LIMITS[layout.KEYS]
        if len(data) > limit:
            raise UsageError(
                f"{layout.KEYS} would have {len(data)} bytes, {limit} are allowed", hint="give fewer recipients"
            )
        return data

    def unwrap(self, identities: Sequence[Identity]) -> Secret:
        """Return the data key, by the first identity that opens an entry of its kind and id.

        Raises:
            AccessError: No identity was given, none is a recipient, or none opens its entry.
            UsageError: A service that holds a key cannot be asked.
            IntegrityError: An entry opens, and holds no data key.
        """
        if not identities:
            raise AccessError(
                "artifact is sealed and no identity was given", hint="give the identity it was sealed for"
            )
        refusals = []
        for identity in identities:
            for entry in self.recipients:
                if identity.kind != entry.kind or identity.id not in (None, entry.id):
                    continue
                try:
                    return _data_key(identity, entry)
                except AccessError as error:
                    refusals.append(error)
        if refusals:
            raise refusals[0]
        raise AccessError(
            f"none of the {len(identities)} identities given is among the {len(self.recipients)} recipients",
            hint="see `intact recipients list`, and ask the owner to add you",
        )

    def check(self, keyring: Keyring) -> None:
        """Check that who wrote the entries had the data key.

        Raises:
            IntegrityError: They had not.
        """
        if Secret(bytes.fromhex(self.mac)) != _mac(self.recipients, keyring):
            raise IntegrityError(
                f"{layout.KEYS} was changed by someone who does not have the key",
                hint=f"put back the {layout.KEYS} its owner made",
            )


def wrap(keyring: Keyring, recipients: Sequence[Recipient]) -> bytes:
    """Return keys.json, with the data key of `keyring` wrapped for each of `recipients`.

    Raises:
        UsageError: There are none, too many, or one comes twice; or a service that holds a key cannot be asked.
        AccessError: A service refuses.
    """
    return KeyFile.of([wrap_one(keyring, recipient) for recipient in recipients], keyring).to_bytes()


def wrap_one(keyring: Keyring, recipient: Recipient) -> Entry:
    """Wrap the data key of `keyring` for `recipient`.

    Raises:
        UsageError: It is of no known kind, or the service that holds its key cannot be asked.
        AccessError: The service refuses.
    """
    wrapped = _kind(recipient.kind).wrap(keyring.data_key, recipient)
    return Entry(
        kind=recipient.kind,
        id=recipient.id or secrets.token_hex(ID_CHARS // 2),
        label=recipient.label,
        wrapped=base64.b64encode(wrapped).decode(),
    )


def unlock(data: bytes, manifest: Manifest, identities: Sequence[Identity]) -> Keyring:
    """Return the keys of a sealed artifact, out of its keys.json.

    Raises:
        AccessError: No identity was given, none is a recipient, or none opens its entry.
        UsageError: A service that holds a key cannot be asked.
        IntegrityError: keys.json is malformed, holds the key of another artifact, or was changed without the key.
    """
    file = KeyFile.from_bytes(data)
    keyring = Keyring(data_key=file.unwrap(identities), artifact=manifest.artifact, revision=manifest.revision)
    if Secret(keyring.commitment.encode()) != Secret((manifest.key_commitment or "").encode()):
        raise IntegrityError(
            f"{layout.KEYS} holds the key of another artifact", hint=f"put back the {layout.KEYS} made for this one"
        )
    file.check(keyring)
    return keyring


def _data_key(identity: Identity, entry: Entry) -> Secret:
    """Return the data key that `entry` holds for `identity`."""
    data_key = _kind(identity.kind).unwrap(entry.data, identity)
    if len(data_key) != DATA_KEY_BYTES:
        raise IntegrityError(f"{layout.KEYS} does not hold a data key")
    return data_key


def _mac(recipients: Sequence[Entry], keyring: Keyring) -> Secret:
    """Return what the data key of `keyring` makes of `recipients`, in this order."""
    return keyring.recipients(encode(to_json(recipients)))


def _kind(name: str) -> Kind:
    """Return the kind called `name`."""
    for kind in kinds():
        if kind.name == name:
            return kind
    raise UsageError(f"there is no kind of recipient called {name!a:.40}")
