"""Keyed checksums of the weights in memory, group by group: tells a flipped bit from the bytes that were verified.

The key is drawn for this process and never leaves it, so that nobody can choose which bits to flip to keep a checksum.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]

GROUP_BYTES: Final = 2**20
"""Bytes under one checksum: hashed in about 0.2 ms, and in cache from then on."""
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A stretch of one tensor's bytes.

    Args:
        tensor: Name of the tensor.
        start: First byte.
        end: The byte after the last one.
    """

    tensor: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.tensor!a} bytes {self.start} to {self.end - 1}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checksums:
    """The checksums of some memory as it was when they were taken.

    Args:
        memory: Bytes of each tensor, looked at where they lie.
        groups: What there is a checksum of, in order.
        sums: The checksum of each, 32 bytes.
        key: What they are keyed with.
    """

    memory: Mapping[str, Bytes]
    groups: tuple[Group, ...]
    sums: tuple[bytes, ...] = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def take(cls, memory: Mapping[str, Bytes], group_bytes: int = GROUP_BYTES) -> Checksums:
        """Take the checksums of `memory` under a fresh key."""
        groups = tuple(
            Group(tensor=name, start=start, end=min(start + group_bytes, data.nbytes))
            for name, data in memory.items()
            for start in range(0, data.nbytes, group_bytes)
        )
        key = secrets.token_bytes(KEY_BYTES)
        sums = tuple(_sum(key, memory[group.tensor][group.start : group.end]) for group in groups)
        return cls(memory=memory, groups=groups, sums=sums, key=key)

    @property
    def nbytes(self) -> int:
        """Bytes under a checksum."""
        return sum(group.end - group.start for group in self.groups)

    def holds(self, number: int) -> bool:
        """Whether group `number` is as it was."""
        group = self.groups[number]
        return self.fits(number, self.memory[group.tensor][group.start : group.end])

    def fits(self, number: int, data: Bytes) -> bool:
        """Whether `data` is what group `number` was."""
        return _sum(self.key, data) == self.sums[number]

    def restore(self, number: int, tensor: Bytes) -> bool:
        """Put group `number` back to what it was, in place.

        Args:
            number: The group.
            tensor: All bytes of its tensor, from where they are genuine.

        Returns:
            Whether they were: nothing is written unless they have the group's checksum.
        """
        group = self.groups[number]
        data = tensor[group.start : group.end]
        if not self.fits(number, data):
            return False
        place = self.memory[group.tensor][group.start : group.end]
        target = (ctypes.c_uint8 * place.nbytes).from_address(place.ctypes.data)  # the array itself is read-only
        np.ctypeslib.as_array(target)[:] = data
        return True


def _sum(key: bytes, data: Bytes) -> bytes:
    """Return the keyed BLAKE3 of `data`; releases the GIL for all but the smallest.

    Source:
        O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020, "BLAKE3", section 2.3, keyed hashing.
    """
    return bytes(blake3(data.data, key=key).digest())
