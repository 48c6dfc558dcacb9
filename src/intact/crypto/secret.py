"""Secret bytes as their own type."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secret:
    """Bytes that never show: hidden in repr, compared in constant time, refused by pickle and copy.

    Args:
        value: The secret bytes. Python cannot wipe them: they live until the process reuses the memory.
    """

    value: bytes

    @classmethod
    def random(cls, size_bytes: int = 32) -> Secret:
        """Return `size_bytes` fresh bytes from the operating system's generator."""
        return cls(secrets.token_bytes(size_bytes))

    def __len__(self) -> int:
        return len(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]  # a hash table would compare in variable time

    def __repr__(self) -> str:
        return f"<Secret, {len(self.value)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written out")
