"""The public, signed description of an artifact: manifest.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from intact.errors import IntegrityError, UsageError
from intact.seal import layout
from intact.seal.policy import Policy
from intact.wire import decode, encode, from_json, to_json

FORMAT: Final = 1
SUITE_SEALED: Final = "intact-1-sealed"
SUITE_PLAIN: Final = "intact-1-plain"

_HEX_128 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Size and BLAKE3 of a file, as it lies on disk."""

    size: int
    blake3: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of weights.safetensors as that file declares it.

    Args:
        dtype: safetensors type; "U8" for ciphertext, and for a tensor stored in another form than raw.
        shape: Extents; (size,) for these.
        segments: BLAKE3 of each `layout.segments` piece, in order.
    """

    dtype: str
    shape: tuple[int, ...]
    segments: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in the file."""
        return layout.nbytes(self.dtype, self.shape, "tensor in manifest.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything about an artifact that needs no key.

    Args:
        format: Version of the format, 1.
        suite: "intact-1-sealed" or "intact-1-plain"; each fixes every algorithm.
        artifact: Random 128-bit identity, 32 hex digits; stays through revisions.
        revision: Counts up from 1.
        key_commitment: What the data key must derive to, 64 hex digits; None when not sealed.
        header: The header file, header.enc or header.bin.
        lineage: lineage.json.
        tensors: The tensors in file order.
        card: Public metadata.
        policy: Limits on its use.
    """

    format: int
    suite: str
    artifact: str
    revision: int
    key_commitment: str | None
    header: Blob
    lineage: Blob
    tensors: tuple[Entry, ...]
    card: Mapping[str, Any]
    policy: Policy

    @property
    def sealed(self) -> bool:
        """Whether the content is encrypted."""
        return self.suite == SUITE_SEALED

    @property
    def header_name(self) -> str:
        """Name of the header file."""
        return layout.HEADER_SEALED if self.sealed else layout.HEADER_PLAIN

    @property
    def index(self) -> bytes:
        """The head weights.safetensors must have, byte for byte."""
        return layout.index([(entry.dtype, entry.shape) for entry in self.tensors])

    def to_bytes(self) -> bytes:
        """Return manifest.json."""
        return encode(to_json(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read manifest.json and check everything in it that can be checked alone.

        Raises:
            IntegrityError: Another format version or suite, or a field that is missing, unknown or out of range.
        """
        limit = layout.LIMITS[layout.MANIFEST]
        value = decode(data, where=layout.MANIFEST, limit_bytes=limit, limit_values=layout.most_values(len(data)))
        version = value.get("format") if isinstance(value, dict) else None
        if version != FORMAT or type(version) is not int:
            raise IntegrityError(
                f"manifest.json is of format {version!a:.40}, this version reads format {FORMAT}",
                hint="open the artifact with the version of intact that wrote it",
            )
        try:
            manifest = from_json(cls, value, where=layout.MANIFEST)
        except UsageError as error:  # the policy checks itself
            raise IntegrityError(f"{layout.MANIFEST}: {error.message}") from None
        _check(manifest)
        return manifest


def is_artifact_id(text: str) -> bool:
    """Whether `text` can be the identity of an artifact: 32 lower-case hex digits."""
    return _HEX_128.fullmatch(text) is not None


def _check(manifest: Manifest) -> None:
    """Raise IntegrityError unless every field of `manifest` is in range and they fit each other."""
    if manifest.suite not in (SUITE_SEALED, SUITE_PLAIN):
        raise IntegrityError(f"manifest.json names suite {manifest.suite!a:.40}, which format {FORMAT} does not have")
    if not is_artifact_id(manifest.artifact) or manifest.revision < 1:
        raise IntegrityError("manifest.json has an impossible artifact id or revision")
    if (manifest.policy.minimum_revision or 1) > manifest.revision:
        raise IntegrityError("manifest.json withdraws its own revision")
    if manifest.sealed != (manifest.key_commitment is not None):
        raise IntegrityError("manifest.json has a key commitment and a suite that do not fit")
    if len(manifest.tensors) > layout.MAX_TENSORS:
        raise IntegrityError(f"manifest.json has {len(manifest.tensors)} tensors, at most {layout.MAX_TENSORS} allowed")
    digests = [manifest.header.blake3, manifest.lineage.blake3, manifest.key_commitment or "0" * 64]
    for number, entry in enumerate(manifest.tensors):
        size = layout.nbytes(entry.dtype, entry.shape, f"tensor {number} in manifest.json")
        if entry.dtype in layout.NIBBLES:
            raise IntegrityError(f"tensor {number} in manifest.json has type {entry.dtype!a}, unknown to safetensors")
        if len(entry.segments) != layout.segment_count(size, sealed=manifest.sealed):
            raise IntegrityError(f"tensor {number} in manifest.json has another number of digests than its size needs")
        if manifest.sealed and (entry.dtype, entry.shape) != ("U8", (size,)):
            raise IntegrityError(f"tensor {number} in manifest.json is not ciphertext")
        digests.extend(entry.segments)
    if not all(layout.is_digest(digest) for digest in digests):
        raise IntegrityError("manifest.json has a digest that is not 64 lower-case hex digits")
