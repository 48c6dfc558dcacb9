"""The signatures of an artifact: model.sig and countersignatures.json, each over every file but the keys.

What is signed names manifest.json with its digest, and the manifest names every other file and every segment with
theirs; so whoever opens an artifact checks one small file here, and the rest as it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from intact.crypto import Authority, CertifiedKey, SigningKey, VerifyingKey, sha256
from intact.errors import AccessError, IntegrityError
from intact.seal import bundle, layout, statement
from intact.seal.bundle import Bundle
from intact.seal.trust import Leaf, Trust, refuse_nobody, trust_of
from intact.wire import encode

Signer: TypeAlias = SigningKey | CertifiedKey
Clock: TypeAlias = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Who signed, and what.

    Args:
        signers: The `key_id` of every key and authority of the reader's whose signature holds.
        resources: What was signed, one for each signature.
    """

    signers: frozenset[str]
    resources: tuple[Mapping[str, statement.Resource], ...]


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def sign(payload: bytes, signer: Signer) -> Bundle:
    """Sign a statement.

    Args:
        payload: What `statement.write` returned.
        signer: A key, alone or with its certificates.
    """
    key = signer.key if isinstance(signer, CertifiedKey) else signer
    return Bundle(
        payload=payload,
        signature=key.sign(bundle.PAYLOAD_TYPE, payload),
        hint=key.verifying_key.hint,
        certificates=signer.chain if isinstance(signer, CertifiedKey) else (),
    )


def key_id(signer: Signer) -> str:
    """Return what the signatures of `signer` claim: see `Bundle.claims`."""
    return sha256(signer.chain[0]) if isinstance(signer, CertifiedKey) else signer.verifying_key.hint


def files(bundles: Sequence[Bundle]) -> dict[str, bytes]:
    """Return the files that hold the signatures, by name."""
    found = {}
    if bundles:
        found[layout.SIGNATURE] = bundles[0].to_bytes()
    if len(bundles) > 1:
        found[layout.COUNTERSIGNATURES] = encode([each.to_json() for each in bundles[1:]])
    return found


def read(signature: bytes | None, more: bytes | None) -> tuple[Bundle, ...]:
    """Return the signatures in model.sig and countersignatures.json, unverified.

    Raises:
        IntegrityError: Either cannot be read.
    """
    first = () if signature is None else (bundle.read(signature),)
    return first + (() if more is None else bundle.read_more(more))


def check(
    bundles: Sequence[Bundle],
    manifest: bytes,
    names: Set[str],
    signers: Trust | Sequence[Leaf],
    *,
    allow_unsigned: bool,
    clock: Clock = now,
) -> Accepted:
    """Accept the bytes of a manifest, before anything in them is looked at.

    Args:
        bundles: The signatures.
        manifest: manifest.json.
        names: The files of the artifact.
        signers: Whose signatures are accepted; any one of a list.
        allow_unsigned: Also accept no signature, or one by a key that is not named. A signature that claims a named
            key must hold even so.
        clock: When certificates must be valid.

    Raises:
        AccessError: There is no signature, no signer was named, or not enough of those named have signed.
        IntegrityError: A signature does not fit the artifact, or does not hold under the key it claims.
    """
    trust = trust_of(signers)
    if trust is None and not allow_unsigned:
        raise refuse_nobody()
    found: dict[str, set[str]] = {}
    resources = []
    refusals: list[AccessError] = []
    for each in bundles if trust is not None else ():
        try:
            for leaf, key in _signers(each, trust, clock):
                resources.append(_fitting(each.payload, manifest, names))
                found.setdefault(leaf.key_id, set()).add(key.key_id)
        except AccessError as refusal:
            refusals.append(refusal)
    accepted = Accepted(signers=frozenset(found), resources=tuple(resources))
    if not allow_unsigned and trust is not None and not trust.holds(found):
        raise _refusal(bundles, trust, accepted, refusals)
    return accepted


def _signers(each: Bundle, trust: Trust | None, clock: Clock) -> list[tuple[Leaf, VerifyingKey]]:
    """Return the leaves under which a signature holds, and the key it was; none where it is by somebody else.

    Raises:
        AccessError: It comes with certificates, and no authority accepts them.
        IntegrityError: It claims a key that was named, and does not hold.
    """
    leaves = [] if trust is None else list(trust.leaves())
    if each.certificates:
        return _certified(each, [leaf for leaf in leaves if isinstance(leaf, Authority)], clock)
    keys = [leaf for leaf in leaves if isinstance(leaf, VerifyingKey)]
    if each.hint is None:  # it does not say whose it is
        return [(key, key) for key in keys if _holds(key, each)]
    named = [key for key in keys if key.hint == each.hint]
    for key in named:
        key.verify(each.signature, bundle.PAYLOAD_TYPE, each.payload)
    return [(key, key) for key in named]


def _certified(each: Bundle, authorities: Sequence[Authority], clock: Clock) -> list[tuple[Leaf, VerifyingKey]]:
    found: list[tuple[Leaf, VerifyingKey]] = []
    refusal: AccessError | None = None
    for authority in authorities:
        try:
            key = authority.key_of(each.certificates, clock())
        except AccessError as error:
            refusal = error
            continue
        key.verify(each.signature, bundle.PAYLOAD_TYPE, each.payload)
        found.append((authority, key))
    if not found and refusal is not None:
        raise refusal
    return found


def _holds(key: VerifyingKey, each: Bundle) -> bool:
    try:
        key.verify(each.signature, bundle.PAYLOAD_TYPE, each.payload)
    except IntegrityError:
        return False
    return True


def _fitting(payload: bytes, manifest: bytes, names: Set[str]) -> Mapping[str, statement.Resource]:
    """Return the files that a statement names, once they are those of the artifact and the manifest is the one."""
    resources = statement.read(payload)
    statement.check_names(resources, names)
    statement.check([manifest], [resources[layout.MANIFEST]])
    return resources


def _refusal(
    bundles: Sequence[Bundle], trust: Trust, accepted: Accepted, refusals: Sequence[AccessError]
) -> AccessError:
    if not bundles:
        return AccessError("artifact is not signed", hint="ask its owner for a signed one")
    if refusals and not accepted.signers:
        return refusals[0]
    if not accepted.signers:
        by = " and ".join(sorted({(each.hint or "unnamed")[:16] for each in bundles}))
        return AccessError(
            f"artifact is signed by key {by!a}, which is not one of the {len(list(trust.leaves()))} named",
            hint="check that this signer is one you trust, and name its public key",
        )
    return AccessError(
        f"artifact is signed by {len(accepted.signers)} of those named, which does not make {trust}",
        hint="ask the missing signers for a countersignature (intact sign)",
    )
