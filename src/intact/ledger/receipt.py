"""Receipts: one event with its place in the log, signed, so that its holder needs nobody's word later.

Source:
    DSSE v1, envelope and protocol.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, Final

from intact.crypto import SigningKey, VerifyingKey
from intact.errors import AccessError, IntegrityError
from intact.ledger.event import LIMIT_VALUES, Event
from intact.ledger.origin import check_origin, is_origin
from intact.ledger.tree import LIMIT_SIZE, SALT_BYTES, entry_hash
from intact.wire import decode, parse

PAYLOAD_TYPE: Final = "application/vnd.intact.receipt+json"
LIMIT_BYTES: Final = 2**14
"""Longest envelope that is read."""
WHERE: Final = "receipt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That an event happened, and where the log has it.

    Args:
        event: What happened.
        origin: Name of the log.
        index: Number of the entry, from 0.
        salt: 32 bytes that were hashed before the event.
    """

    event: Event
    origin: str
    index: int
    salt: bytes

    @property
    def entry(self) -> bytes:
        """What the log has at `index`: the salted hash of the event."""
        return entry_hash(self.salt, self.event.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Signs the receipts of one log.

    Args:
        key: The key.
        origin: Name of the log.
    """

    key: SigningKey
    origin: str
    _middle: bytes = field(init=False, repr=False)
    _end: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_origin(self.origin)
        key_id = self.key.verifying_key.key_id
        object.__setattr__(self, "_middle", b',"origin":%b,"salt":"' % encode_basestring(self.origin).encode())
        object.__setattr__(
            self,
            "_end",
            b'","payloadType":"%b","signatures":[{"keyid":"%b","sig":"' % (PAYLOAD_TYPE.encode(), key_id.encode()),
        )

    def issue(self, event: bytes, index: int, salt: bytes) -> bytes:
        """Return the signed receipt of an entry: the compact JSON of a DSSE envelope.

        Args:
            event: What `Event.encode` returned, and nothing else: it is not looked at.
            index: Number of the entry.
            salt: Its salt.
        """
        payload = b'{"event":%b,"log":{"index":%d%b%b"}}' % (event, index, self._middle, salt.hex().encode())
        signature = self.key.sign(PAYLOAD_TYPE, payload)
        return b'{"payload":"%b%b%b"}]}' % (
            binascii.b2a_base64(payload, newline=False),
            self._end,
            binascii.b2a_base64(signature, newline=False),
        )


def issue(receipt: Receipt, key: SigningKey) -> bytes:
    """Return `receipt` signed: the compact JSON of a DSSE envelope. For many, keep an `Issuer`."""
    return Issuer(key=key, origin=receipt.origin).issue(receipt.event.encode(), receipt.index, receipt.salt)


def read(envelope: bytes, keys: Iterable[VerifyingKey]) -> Receipt:
    """Return the receipt in an envelope, after its signature was checked; nothing in it is looked at before.

    Args:
        envelope: What `issue` returned.
        keys: Whose signature is accepted.

    Raises:
        AccessError: None of `keys` signed it.
        IntegrityError: It is no receipt, or not as it was signed.
    """
    value = parse(envelope, where=WHERE, limit_bytes=LIMIT_BYTES)
    payload, key_id, signature = _parts(value, envelope)
    key = next((each for each in keys if each.key_id == key_id), None)
    if key is None:
        raise AccessError(
            "receipt is signed by a key that was not named",
            hint="name the public key of the server that you trust (--key)",
        )
    key.verify(signature, PAYLOAD_TYPE, payload)
    return _from_payload(payload)


def to_header(envelope: bytes) -> str:
    """Return an envelope as the value of a header: base64."""
    return base64.b64encode(envelope).decode()


def from_header(text: str) -> bytes:
    """Return the envelope in the value of a header.

    Raises:
        IntegrityError: It is too long, or no base64.
    """
    if len(text) > 2 * LIMIT_BYTES:
        raise IntegrityError(f"receipt has {len(text)} characters, more than the {2 * LIMIT_BYTES} allowed")
    return _from_base64(text)


def _parts(value: Any, envelope: bytes) -> tuple[bytes, str, bytes]:
    """Return payload, key id and signature of an envelope that is written in the one way there is."""
    if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
        raise IntegrityError("receipt is no DSSE envelope")
    signatures = value["signatures"]
    if value["payloadType"] != PAYLOAD_TYPE or not isinstance(signatures, list) or len(signatures) != 1:
        raise IntegrityError("receipt is no DSSE envelope of a receipt with one signature")
    (first,) = signatures
    if not isinstance(first, dict) or first.keys() != {"keyid", "sig"} or not isinstance(first["keyid"], str):
        raise IntegrityError("receipt is no DSSE envelope of a receipt with one signature")
    if decode(envelope, where=WHERE) != value:  # raises where it is spelled in another way
        raise IntegrityError("receipt is spelled in another way")
    return _from_base64(value["payload"]), first["keyid"], _from_base64(first["sig"])


def _from_payload(payload: bytes) -> Receipt:
    """Return the receipt in a payload whose signature holds."""
    value = decode(payload, where=WHERE, limit_bytes=LIMIT_BYTES, limit_values=LIMIT_VALUES)
    if not isinstance(value, dict) or value.keys() != {"event", "log"}:
        raise IntegrityError("receipt has not the fields of one")
    log = value["log"]
    if not isinstance(log, dict) or log.keys() != {"index", "origin", "salt"}:
        raise IntegrityError("receipt does not say where the log has it")
    index, origin, salt = log["index"], log["origin"], log["salt"]
    if type(index) is not int or not 0 <= index < LIMIT_SIZE or not isinstance(origin, str) or not is_origin(origin):
        raise IntegrityError("receipt has no log or index")
    if not isinstance(salt, str) or len(salt) != 2 * SALT_BYTES or not _is_hex(salt):
        raise IntegrityError("receipt has no salt of 32 bytes in lower-case hex")
    return Receipt(event=Event.from_json(value["event"]), origin=origin, index=index, salt=bytes.fromhex(salt))


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)


def _from_base64(value: Any) -> bytes:
    """Return what base64 spells, in the one spelling that it has."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        data = None
    if data is None or base64.b64encode(data).decode() != value:
        raise IntegrityError("receipt has a field that is not base64")
    return data
