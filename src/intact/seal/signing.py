"""The detached signature of an artifact: model.sig, over manifest.json and through its digests over everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intact.crypto import SigningKey, VerifyingKey
from intact.errors import AccessError
from intact.seal import layout
from intact.wire import decode, encode, from_json, to_json

PAYLOAD_TYPE: Final = "application/vnd.intact.manifest.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The content of model.sig.

    Args:
        key: SHA-256 of the signer's DER SubjectPublicKeyInfo, 64 hex digits: a claim, which selects the key to try.
        signature: Ed25519, or ECDSA P-256 with SHA-256 in DER, over the DSSE encoding of the manifest's bytes.
    """

    key: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return model.sig."""
        return encode(to_json(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Signature:
        """Read model.sig.

        Raises:
            IntegrityError: `data` is not a canonical record of this form.
        """
        return from_json(cls, decode(data, where=layout.SIGNATURE), where=layout.SIGNATURE)


def sign(manifest: bytes, signer: SigningKey) -> bytes:
    """Return model.sig for the bytes of a manifest."""
    signature = signer.sign(PAYLOAD_TYPE, manifest)
    return Signature(key=signer.verifying_key.key_id, signature=signature).to_bytes()


def check(manifest: bytes, signature: bytes | None, signers: Sequence[VerifyingKey], *, allow_unsigned: bool) -> None:
    """Accept the bytes of a manifest, before anything in them is looked at.

    Args:
        manifest: manifest.json.
        signature: model.sig, or None when there is none.
        signers: Keys whose signature is accepted; any one of them.
        allow_unsigned: Also accept no signature, or one by a key that is not named. A signature that claims a named
            key must hold even so.

    Raises:
        AccessError: There is no signature, no signer was named, or the signer is not one of those named.
        IntegrityError: model.sig is malformed, or does not fit the manifest.
    """
    if signature is not None:
        found = Signature.from_bytes(signature)
        for key in signers:
            if key.key_id == found.key:
                key.verify(found.signature, PAYLOAD_TYPE, manifest)
                return
    if allow_unsigned:
        return
    if not signers:
        raise AccessError(
            "no signer was named, so no signature can be accepted",
            hint="name the public key of the signer you trust (--signer), or accept anybody's (--allow-unsigned)",
        )
    if signature is None:
        raise AccessError("artifact is not signed", hint="ask its owner for a signed one")
    raise AccessError(
        f"artifact is signed by key {found.key[:16]!a}, which is not one of the {len(signers)} named",
        hint="check that this signer is one you trust, and name its public key",
    )
