"""Proofs that an entry is in the tree, and that a tree only grew: made from hashes of subtrees, checked against roots.

Source:
    RFC 6962, section 2.1 (making them); RFC 9162, sections 2.1.3.2 and 2.1.4.2 (checking them).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from intact.errors import IntegrityError, UsageError
from intact.ledger.tree import EMPTY_ROOT, HASH_BYTES, LIMIT_SIZE, Frontier, node_hash

MOST_HASHES: Final = 63
"""Longest proof that is looked at."""

GetHash: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree number `index` of height `height`: of entries index * 2^height and on."""


def tree_root(size: int, get_hash: GetHash) -> bytes:
    """Return the root of the tree of the first `size` entries."""
    return _range_root(0, size, get_hash) if size else EMPTY_ROOT


def frontier(size: int, get_hash: GetHash) -> Frontier:
    """Return the frontier of the tree of the first `size` entries."""
    hashes = tuple(get_hash(height, start >> height) for start, height in _complete(0, size))
    return Frontier(size=size, hashes=hashes)


def inclusion_proof(index: int, size: int, get_hash: GetHash) -> list[bytes]:
    """Return the hashes that lead from entry `index` to the root of the first `size` entries.

    Args:
        index: Number of the entry, from 0.
        size: Size of the tree; greater than `index`.
        get_hash: Gives the hashes of complete subtrees.

    Raises:
        UsageError: The tree has no such entry.
    """
    if not 0 <= index < size:
        raise UsageError(f"a log of {size} entries has no entry {index}", hint="take a later checkpoint")
    return [_range_root(start, stop, get_hash) for start, stop in _inclusion(index, 0, size)]


def consistency_proof(old: int, new: int, get_hash: GetHash) -> list[bytes]:
    """Return the hashes that show that the first `old` of `new` entries are what they were.

    Args:
        old: Size of the earlier tree.
        new: Size of the later one.
        get_hash: Gives the hashes of complete subtrees.

    Raises:
        UsageError: The earlier tree is the larger one.
    """
    if not 0 <= old <= new:
        raise UsageError(f"a log of {new} entries cannot follow one of {old}")
    if old in (0, new):
        return []
    return [_range_root(start, stop, get_hash) for start, stop in _consistency(old, 0, new, whole=True)]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is entry `index` of the tree with this size and root.

    Args:
        leaf: Its leaf hash.
        index: Number of the entry.
        size: Size of the tree.
        proof: What `inclusion_proof` returned.
        root: Root of the tree.

    Raises:
        IntegrityError: It is not, or the proof does not show it.

    Source:
        RFC 9162, section 2.1.3.2.
    """
    _check_form(proof, size)
    if not 0 <= index < size:
        raise IntegrityError(f"entry {index} is not among the {size} of the log")  # 1
    first, last = index, size - 1  # 2
    computed = leaf  # 3
    for each in proof:  # 4
        if last == 0:
            raise IntegrityError("proof of inclusion is too long")
        if first & 1 or first == last:
            computed = node_hash(each, computed)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            computed = node_hash(computed, each)
        first, last = first >> 1, last >> 1
    if last or not hmac.compare_digest(computed, root):  # 5
        raise IntegrityError(f"entry {index} is not in the log of {size} entries: its proof leads to another root")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a tree grew out of an earlier one, with nothing in it changed.

    Args:
        old: Size of the earlier tree.
        new: Size of the later tree.
        old_root: Root of the earlier tree.
        new_root: Root of the later tree.
        proof: What `consistency_proof` returned.

    Raises:
        IntegrityError: It did not, or the proof does not show it.

    Source:
        RFC 9162, section 2.1.4.2; an empty earlier tree is before every other.
    """
    _check_form(proof, new)
    if not 0 <= old <= new:
        raise IntegrityError(f"log of {new} entries has fewer than the {old} that it had")
    if old in (0, new):
        wanted = EMPTY_ROOT if old == 0 else new_root
        if proof or not hmac.compare_digest(old_root, wanted):
            raise _rewritten(old, new)
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)  # 2
    if not path:
        raise _rewritten(old, new)  # 1
    first, last = old - 1, new - 1  # 3
    while first & 1:  # 4
        first, last = first >> 1, last >> 1
    computed_old = computed_new = path[0]  # 5
    for each in path[1:]:  # 6
        if last == 0:
            raise IntegrityError("proof of consistency is too long")
        if first & 1 or first == last:
            computed_old, computed_new = node_hash(each, computed_old), node_hash(each, computed_new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            computed_new = node_hash(computed_new, each)
        first, last = first >> 1, last >> 1
    same = hmac.compare_digest(computed_old, old_root) and hmac.compare_digest(computed_new, new_root)
    if last or not same:  # 7
        raise _rewritten(old, new)


def _rewritten(old: int, new: int) -> IntegrityError:
    return IntegrityError(
        f"log of {new} entries does not begin with the {old} that were signed before: it was rewritten",
        hint="keep both checkpoints: together they prove it",
    )


def _check_form(proof: Sequence[bytes], size: int) -> None:
    if len(proof) > MOST_HASHES or any(len(each) != HASH_BYTES for each in proof) or size > LIMIT_SIZE:
        raise IntegrityError("proof has too many hashes, or one that is not 32 bytes long")


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count`: how many entries lie under the left child of the root."""
    return 1 << ((count - 1).bit_length() - 1)


def _inclusion(index: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges whose roots prove entry `index` of [start, stop): PATH of RFC 6962, section 2.1.1."""
    if stop - start == 1:
        return
    middle = start + _split(stop - start)
    if index < middle:
        yield from _inclusion(index, start, middle)
        yield (middle, stop)
    else:
        yield from _inclusion(index, middle, stop)
        yield (start, middle)


def _consistency(old: int, start: int, stop: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    """Yield the ranges whose roots prove that [start, old) begins [start, stop): SUBPROOF of RFC 6962, 2.1.2."""
    if old == stop:
        if not whole:
            yield (start, stop)
        return
    middle = start + _split(stop - start)
    if old <= middle:
        yield from _consistency(old, start, middle, whole=whole)
        yield (middle, stop)
    else:
        yield from _consistency(old, middle, stop, whole=False)
        yield (start, middle)


def _complete(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the complete subtrees that [start, stop) is made of, as (first entry, height), the largest first.

    `start` is a multiple of the power of two that is no smaller than the range.
    """
    while start < stop:
        height = (stop - start).bit_length() - 1
        yield start, height
        start += 1 << height


def _range_root(start: int, stop: int, get_hash: GetHash) -> bytes:
    """Return the root over entries [start, stop), which are not none."""
    hashes = [get_hash(height, first >> height) for first, height in _complete(start, stop)]
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root
