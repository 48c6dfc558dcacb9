"""Which key opens what: every key of an artifact, derived from its data key and bound to its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from intact.crypto import Secret, blake3, derive
from intact.wire import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of one revision of one artifact.

    Args:
        data_key: What keys.json holds: 32 uniform bytes.
        artifact: Identity of the artifact, 32 hex digits.
        revision: Its revision.
    """

    data_key: Secret
    artifact: str
    revision: int

    @property
    def commitment(self) -> str:
        """What the manifest says of the data key: 64 hex digits that fit one key only and reveal nothing of it."""
        return derive(self.data_key, "commitment", self._place()).value.hex()

    @property
    def header(self) -> Secret:
        """Key of header.enc."""
        return derive(self.data_key, "header", self._place())

    def recipients(self, entries: bytes) -> Secret:
        """Return what authenticates the recipients of keys.json, given as canonical JSON."""
        return derive(self.data_key, "recipients", self._place(entries=blake3(entries)))

    def tensors(self, kinds: Iterable[tuple[str, Sequence[int]]]) -> list[Secret]:
        """Return the key of each tensor, for (dtype, shape) in file order; another place, type or shape has another."""
        return [
            derive(self.data_key, "tensor", self._place(index=index, dtype=dtype, shape=list(shape)))
            for index, (dtype, shape) in enumerate(kinds)
        ]

    def _place(self, **more: object) -> bytes:
        """Return what a key is bound to: canonical JSON of artifact, revision, and `more`."""
        return encode({"artifact": self.artifact, "revision": self.revision, **more})
