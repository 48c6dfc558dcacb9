"""Whose signatures make a reader accept an artifact: keys, authorities, and how many of them.

any_of(a, b);  all_of(a, any_of(b, c));  threshold(2, a, b, c)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from intact.crypto import Authority, VerifyingKey
from intact.errors import AccessError, UsageError

Leaf: TypeAlias = VerifyingKey | Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """So many of these must have signed.

    Args:
        needed: How many.
        of: Keys, authorities, or more such conditions.
    """

    needed: int
    of: tuple[Leaf | Trust, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= len(self.of):
            raise UsageError(
                f"{self.needed} of {len(self.of)} signers are wanted",
                hint="want at least one, and at most as many as are named",
            )
        ids = [leaf.key_id for leaf in self.leaves()]
        if len(set(ids)) != len(ids):
            raise UsageError("a signer is named twice", hint="name every key and authority once")

    def leaves(self) -> Iterator[Leaf]:
        """Yield every key and authority, however deep."""
        for each in self.of:
            if isinstance(each, Trust):
                yield from each.leaves()
            else:
                yield each

    def holds(self, signed: Mapping[str, Set[str]]) -> bool:
        """Whether enough have signed. One key counts for one leaf, whatever it is called and whoever vouches for it.

        Args:
            signed: For the `key_id` of every leaf that did, those of the keys that it was.
        """
        return any(self._met(leaves) for leaves in _assigned(list(signed.items()), frozenset()))

    def _met(self, leaves: Set[str]) -> bool:
        met = sum(each._met(leaves) if isinstance(each, Trust) else each.key_id in leaves for each in self.of)
        return met >= self.needed

    def __str__(self) -> str:
        names = ", ".join(f"({each})" if isinstance(each, Trust) else each.key_id[:16] for each in self.of)
        return names if len(self.of) == 1 else f"{self.needed} of {names}"


def _assigned(signed: Sequence[tuple[str, Set[str]]], used: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield the sets of leaves that can have a key each of their own, leaving none out that nobody else needs."""
    if not signed:
        yield frozenset()
        return
    (leaf, keys), *rest = signed
    free = sorted(keys - used)
    for key in free:
        yield from (others | {leaf} for others in _assigned(rest, used | {key}))
    if not free or any(keys & others for _, others in rest):
        yield from _assigned(rest, used)


def any_of(*of: Leaf | Trust) -> Trust:
    """One of them must have signed.

    Raises:
        UsageError: None is named, or one twice.
    """
    return threshold(1, *of)


def all_of(*of: Leaf | Trust) -> Trust:
    """Every one of them must have signed.

    Raises:
        UsageError: None is named, or one twice.
    """
    return threshold(len(of), *of)


def threshold(needed: int, *of: Leaf | Trust) -> Trust:
    """`needed` of them must have signed.

    Raises:
        UsageError: None is named, one twice, or fewer than are needed.
    """
    return Trust(needed=needed, of=of)


def trust_of(signers: Trust | Sequence[Leaf]) -> Trust | None:
    """Return `signers` as a condition: any of a list; None for an empty one.

    Raises:
        UsageError: One is named twice.
    """
    return signers if isinstance(signers, Trust) else any_of(*signers) if signers else None


def refuse_nobody() -> AccessError:
    """The error where no signer was named."""
    return AccessError(
        "no signer was named, so no signature can be accepted",
        hint="name the public key of the signer you trust (--signer), or accept anybody's (--allow-unsigned)",
    )
