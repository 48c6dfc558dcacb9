"""The Merkle tree of the log: its hashes, and what is enough of it to append.

Source:
    RFC 6962, section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from intact.errors import IntegrityError

HASH_BYTES: Final = 32
SALT_BYTES: Final = 32
LIMIT_SIZE: Final = 2**53 - 1
"""Most entries of a log."""
EMPTY_ROOT: Final = sha256().digest()


def entry_hash(salt: bytes, event: bytes) -> bytes:
    """Return SHA-256(salt || event): the entry of the log, which says nothing of the event without its salt.

    Args:
        salt: 32 random bytes.
        event: What `Event.encode` returned.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 32 bytes")
    return sha256(salt + event).digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry in the tree: SHA-256(0x00 || entry)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees: SHA-256(0x01 || left || right)."""
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The right edge of a tree: all that is needed to append to it, and its root.

    Args:
        size: Number of entries.
        hashes: Of the complete subtrees that the tree is made of, the largest first: one for each bit of `size`.
    """

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LIMIT_SIZE or len(self.hashes) != self.size.bit_count():
            raise IntegrityError("frontier of the log does not fit its size")
        if any(len(each) != HASH_BYTES for each in self.hashes):
            raise IntegrityError("frontier of the log has a hash that is not 32 bytes long")

    def append(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the frontier after more entries.

        Args:
            leaves: Their leaf hashes, in order.
        """
        size, hashes = self.size, list(self.hashes)
        for leaf in leaves:
            height = size
            while height & 1:
                leaf = node_hash(hashes.pop(), leaf)
                height >>= 1
            hashes.append(leaf)
            size += 1
        return Frontier(size=size, hashes=tuple(hashes))

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        *larger, root = self.hashes
        for left in reversed(larger):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """Return size, in eight bytes big-endian, and hashes."""
        return self.size.to_bytes(8, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Return the frontier that `to_bytes` gave `data` for.

        Raises:
            IntegrityError: It is none.
        """
        if len(data) < 8 or (len(data) - 8) % HASH_BYTES:
            raise IntegrityError("frontier of the log has a wrong length")
        hashes = tuple(data[start : start + HASH_BYTES] for start in range(8, len(data), HASH_BYTES))
        return cls(size=int.from_bytes(data[:8], "big"), hashes=hashes)


EMPTY: Final = Frontier(size=0, hashes=())
