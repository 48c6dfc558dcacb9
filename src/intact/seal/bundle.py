"""The form of a signature: a Sigstore bundle with a DSSE envelope, as the OpenSSF model-signing tool has it.

Source:
    Sigstore bundle format v0.3; DSSE v1, envelope and protocol.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from intact.crypto import sha256
from intact.crypto.certificates import MOST_CERTIFICATES
from intact.errors import IntegrityError
from intact.seal import layout
from intact.wire import decode, encode, parse

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
CERTIFIED: Final = ("certificate", "x509CertificateChain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One signature. Nothing in it is trusted before a key that the reader named has checked it.

    Args:
        payload: The signed statement.
        signature: Over the DSSE encoding of payload and its type.
        hint: Which key signed, as it claims: SHA-256 of its PEM, in hex; None where it does not say.
        certificates: The signer's certificate and those that lead on to an authority, in DER; empty for a bare key.
    """

    payload: bytes
    signature: bytes
    hint: str | None
    certificates: tuple[bytes, ...] = ()

    @property
    def claims(self) -> str:
        """Who signed, as it says: SHA-256 of the PEM of a key, or of a certificate; empty where it does not say."""
        return sha256(self.certificates[0]) if self.certificates else self.hint or ""

    def to_json(self) -> dict[str, Any]:
        """Return the bundle as a JSON object."""
        if self.certificates:
            chain = [{"rawBytes": _text(certificate)} for certificate in self.certificates]
            material: dict[str, Any] = {"x509CertificateChain": {"certificates": chain}}
        else:
            material = {"publicKey": {"hint": self.hint}}
        return {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {**material, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": _text(self.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": _text(self.signature), "keyid": ""}],
            },
        }

    def to_bytes(self) -> bytes:
        """Return model.sig."""
        return encode(self.to_json())


def read(data: bytes) -> Bundle:
    """Read model.sig.

    Raises:
        IntegrityError: It is no bundle of this form.
    """
    value = parse(data, where=layout.SIGNATURE, limit_bytes=layout.LIMITS[layout.SIGNATURE])
    if data[:1] + data[-1:] != b"{}":
        raise IntegrityError(f"{layout.SIGNATURE} is no Sigstore bundle, or has something around it")
    return from_json(value, layout.SIGNATURE)


def read_more(data: bytes) -> tuple[Bundle, ...]:
    """Read countersignatures.json.

    Raises:
        IntegrityError: It is no list of bundles, or too long a one.
    """
    where = layout.COUNTERSIGNATURES
    value = decode(data, where=where, limit_bytes=layout.LIMITS[where])
    if not isinstance(value, list) or not 1 <= len(value) <= layout.MOST_COUNTERSIGNATURES:
        raise IntegrityError(f"{where} is no list of 1 to {layout.MOST_COUNTERSIGNATURES} signatures")
    return tuple(from_json(item, f"{where}[{number}]") for number, item in enumerate(value))


def from_json(value: Any, where: str) -> Bundle:
    """Return the bundle that a JSON object is. Fields that this version does not know are refused, not passed over.

    Raises:
        IntegrityError: It is none.
    """
    whole = _object(value, where, "mediaType", "verificationMaterial", "dsseEnvelope")
    envelope = _object(whole.get("dsseEnvelope"), where, "payload", "payloadType", "signatures")
    material = _object(whole.get("verificationMaterial"), where, "publicKey", *CERTIFIED, "tlogEntries")
    if whole.get("mediaType") != MEDIA_TYPE or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise IntegrityError(f"{where} is no Sigstore bundle v0.3 with an in-toto statement")
    if material.get("tlogEntries"):
        raise IntegrityError(f"{where} is bound to a transparency log, which this version does not check")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise IntegrityError(f"{where} does not hold one signature")
    signature = _object(signatures[0], where, "sig", "keyid")
    if signature.get("keyid"):
        raise IntegrityError(f"{where} names its key in a place that no signature covers")
    return Bundle(
        payload=_bytes(envelope.get("payload"), where),
        signature=_bytes(signature.get("sig"), where),
        hint=_hint(material, where),
        certificates=_certificates(material, where),
    )


def _hint(material: dict[str, Any], where: str) -> str | None:
    if "publicKey" not in material:
        return None
    hint = _object(material["publicKey"], where, "hint").get("hint")
    if hint is not None and not layout.is_digest(hint):
        raise IntegrityError(f"{where} has a key hint that is no SHA-256")
    return hint


def _certificates(material: dict[str, Any], where: str) -> tuple[bytes, ...]:
    found = [key for key in ("publicKey", *CERTIFIED) if key in material]
    if len(found) > 1:
        raise IntegrityError(f"{where} says in two ways who signed")
    if found == ["certificate"]:
        return (_bytes(_object(material["certificate"], where, "rawBytes").get("rawBytes"), where),)
    if found != ["x509CertificateChain"]:
        return ()
    chain = _object(material["x509CertificateChain"], where, "certificates").get("certificates")
    if not isinstance(chain, list) or not 1 <= len(chain) <= MOST_CERTIFICATES:
        raise IntegrityError(f"{where} has no chain of 1 to {MOST_CERTIFICATES} certificates")
    return tuple(_bytes(_object(item, where, "rawBytes").get("rawBytes"), where) for item in chain)


def _object(value: Any, where: str, *fields: str) -> dict[str, Any]:
    """Return the fields of an object that are not null, once there are none but `fields`."""
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is no Sigstore bundle")
    found = {key: item for key, item in value.items() if item is not None}
    if stray := found.keys() - set(fields):
        raise IntegrityError(f"{where} has a field {min(stray)!a:.40} that this version does not check")
    return found


def _bytes(value: Any, where: str) -> bytes:
    """Return what base64 spells, in the one spelling that it has."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        data = None
    if data is None or _text(data) != value:
        raise IntegrityError(f"{where} has a field that is not base64")
    return data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
