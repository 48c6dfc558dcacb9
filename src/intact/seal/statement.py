"""What is signed: an in-toto statement that names every file of an artifact with its digest.

Source:
    OpenSSF Model Signing, v1.0 signature predicate (https://model_signing/signature/v1.0), with the "files" method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from intact.crypto import HASHERS
from intact.crypto.buffer import Buffer
from intact.errors import IntegrityError
from intact.seal import layout
from intact.wire import encode, parse

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://model_signing/signature/v1.0"
ALGORITHM: Final = "sha256"
"""What we write; the command of the public tool computes nothing else."""
WHERE: Final = "the signed statement"
MOST_FILES: Final = len(layout.LIMITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One file of a signed artifact.

    Args:
        name: Its name.
        algorithm: Of the digest, one of `crypto.HASHERS`.
        digest: In lower-case hex.
    """

    name: str
    algorithm: str
    digest: str


def write(name: str, digests: Mapping[str, str]) -> bytes:
    """Return the statement over an artifact.

    Args:
        name: What the artifact is called; informative only.
        digests: SHA-256 of every file by name, without those that no signature covers.
    """
    files = sorted(digests)
    return encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": _root(digests[file] for file in files)}}],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": ALGORITHM,
                    "allow_symlinks": False,
                    "ignore_paths": sorted(layout.UNSIGNED),
                },
                "resources": [{"name": file, "algorithm": ALGORITHM, "digest": digests[file]} for file in files],
            },
        }
    )


def read(data: bytes) -> dict[str, Resource]:
    """Return the files that a statement names; its signature was accepted before.

    Raises:
        IntegrityError: It is no statement of this kind, or contradicts itself.
    """
    value = parse(data, where=WHERE, limit_bytes=layout.LIMITS[layout.SIGNATURE])
    if _at(value, "_type") != STATEMENT or _at(value, "predicateType") != PREDICATE:
        raise IntegrityError(f"{WHERE} is no model signature of version 1.0")
    if _at(value, "predicate", "serialization", "method") != "files":
        raise IntegrityError(f"{WHERE} does not name whole files", hint="sign with the 'files' method")
    listed, subjects = _at(value, "predicate", "resources"), _at(value, "subject")
    if not isinstance(listed, list) or not isinstance(subjects, list) or len(subjects) != 1:
        raise IntegrityError(f"{WHERE} has no list of files, or not one subject")
    if len(listed) > MOST_FILES:
        raise IntegrityError(f"{WHERE} names {len(listed)} files, more than the {MOST_FILES} that an artifact can have")
    found = [_resource(item) for item in listed]
    if len({resource.name for resource in found}) != len(found):
        raise IntegrityError(f"{WHERE} names a file twice")
    if _at(subjects[0], "digest", "sha256") != _root(resource.digest for resource in found):
        raise IntegrityError(f"{WHERE} has another root digest than its files give")
    return {resource.name: resource for resource in found}


def check_names(resources: Mapping[str, Resource], present: Set[str]) -> None:
    """Check that a statement names all that an artifact holds, and nothing else.

    Raises:
        IntegrityError: It does not.
    """
    signed, wanted = set(resources), set(present) - layout.UNSIGNED
    if missing := wanted - signed:
        raise IntegrityError(f"{min(missing)} is not covered by the signature")
    if stray := signed - set(present):
        raise IntegrityError(f"the signature covers {min(stray)!a:.80}, which is not there")


def check(pieces: Iterable[Buffer], claims: Sequence[Resource]) -> str:
    """Check that the bytes of a file are those that were signed.

    Args:
        pieces: The file, in order.
        claims: What was signed of it, by whomever.

    Returns:
        Its digest, as `write` takes it.

    Raises:
        IntegrityError: They are not.
    """
    hashers = {algorithm: HASHERS[algorithm]() for algorithm in {ALGORITHM, *(each.algorithm for each in claims)}}
    for piece in pieces:
        for hasher in hashers.values():
            hasher.update(piece)
    found = {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}
    for claim in claims:
        if claim.digest != found[claim.algorithm]:
            raise IntegrityError(f"{claim.name} is not the file that was signed")
    return found[ALGORITHM]


def _root(digests: Any) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def _resource(item: Any) -> Resource:
    name, algorithm, digest = (_at(item, key) for key in ("name", "algorithm", "digest"))
    known = isinstance(algorithm, str) and algorithm in HASHERS
    if not isinstance(name, str) or not known or not layout.is_digest(digest):
        raise IntegrityError(
            f"{WHERE} has a file without a digest this version can check, wanted {' or '.join(sorted(HASHERS))}"
        )
    return Resource(name=name, algorithm=algorithm, digest=digest)


def _at(value: Any, *path: str) -> Any:
    """Return what lies in nested objects, None where it does not."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
