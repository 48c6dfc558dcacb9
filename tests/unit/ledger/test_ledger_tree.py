"""The Merkle tree: the known answers of Certificate Transparency, sigstore's verifier, and the definition itself."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError

from intact.errors import IntegrityError, UsageError
from intact.ledger import (
    EMPTY,
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    entry_hash,
    frontier,
    inclusion_proof,
    leaf_hash,
    tree_root,
)
from intact.ledger.tree import LIMIT_SIZE
from support.ledgers import leaf, mth

# the tree that every implementation of Certificate Transparency is tested with
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
MOST = 70
LEAVES = [leaf(b"%d" % number) for number in range(MOST)]


def get_hash(height: int, index: int) -> bytes:
    return mth(tuple(LEAVES[index << height : (index + 1) << height]))


def sigstores(entry: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Check an inclusion proof with sigstore's verifier."""
    inclusion = SimpleNamespace(log_index=index, tree_size=size, hashes=proof, root_hash=root)
    inner = SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=entry)
    verify_merkle_inclusion(cast(Any, SimpleNamespace(_inner=inner)))


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    assert EMPTY.append(leaves).root().hex() == ROOTS[size]
    assert mth(tuple(leaves)).hex() == ROOTS[size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_known_proofs_of_consistency(old: int, new: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    proof = consistency_proof(old, new, lambda height, i: mth(tuple(leaves[i << height : (i + 1) << height])))
    assert [each.hex() for each in proof] == CONSISTENCY[old, new]
    check_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), proof)


def test_an_entry_is_a_salted_hash() -> None:
    assert entry_hash(b"s" * 32, b"event") == hashlib.sha256(b"s" * 32 + b"event").digest()
    with pytest.raises(ValueError, match="32 bytes"):
        entry_hash(b"short", b"event")


@given(st.lists(st.integers(0, 30), max_size=6))
def test_however_it_is_appended_the_root_is_that_of_the_definition(steps: list[int]) -> None:
    leaves = [leaf(b"%d" % number) for number in range(sum(steps))]
    found, done = EMPTY, 0
    for step in steps:
        found = Frontier.from_bytes(found.append(leaves[done : done + step]).to_bytes())
        done += step
        assert (found.size, found.root()) == (done, mth(tuple(leaves[:done])))


@pytest.mark.parametrize("size", range(MOST + 1))
def test_a_tree_read_by_subtrees_has_the_root_of_the_definition(size: int) -> None:
    root = mth(tuple(LEAVES[:size]))
    assert tree_root(size, get_hash) == root
    assert frontier(size, get_hash) == EMPTY.append(LEAVES[:size])
    assert EMPTY.append(LEAVES[:size]).root() == root


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_every_inclusion_proof_holds_here_and_with_sigstore(size: int) -> None:
    root = mth(tuple(LEAVES[:size]))
    for index in range(size):
        proof = inclusion_proof(index, size, get_hash)
        check_inclusion(LEAVES[index], index, size, proof, root)
        sigstores(b"%d" % index, index, size, proof, root)


@pytest.mark.parametrize("new", range(MOST + 1))
def test_every_consistency_proof_holds(new: int) -> None:
    for old in range(new + 1):
        proof = consistency_proof(old, new, get_hash)
        check_consistency(old, new, mth(tuple(LEAVES[:old])), mth(tuple(LEAVES[:new])), proof)


@given(st.data())
def test_a_changed_inclusion_proof_is_refused_here_and_by_sigstore(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, MOST))
    index = data.draw(st.integers(0, size - 1))
    root, proof = mth(tuple(LEAVES[:size])), inclusion_proof(index, size, get_hash)
    entry, other = b"%d" % index, data.draw(st.integers(0, size - 1))
    way = data.draw(st.sampled_from(["entry", "drop", "add", "flip", "root", "index"]))
    if way == "entry":
        entry = b"other"
    elif way == "add":
        proof = [*proof, bytes(32)]
    elif way == "root":
        root = bytes(32)
    elif way == "index" and other != index:
        index = other
    elif way == "drop" and proof:
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    elif way == "flip" and proof:
        where = data.draw(st.integers(0, len(proof) - 1))
        proof[where] = bytes([proof[where][0] ^ 1]) + proof[where][1:]
    else:
        return
    with pytest.raises(IntegrityError):
        check_inclusion(leaf(entry), index, size, proof, root)
    with pytest.raises(VerificationError):
        sigstores(entry, index, size, proof, root)


@given(st.data())
def test_a_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, MOST))
    old = data.draw(st.integers(1, new - 1))
    roots = [mth(tuple(LEAVES[:old])), mth(tuple(LEAVES[:new]))]
    proof = consistency_proof(old, new, get_hash)
    way = data.draw(st.sampled_from(["drop", "add", "flip", "old", "new"]))
    where = data.draw(st.integers(0, len(proof) - 1))
    if way == "drop":
        del proof[where]
    elif way == "add":
        proof.insert(where, bytes(32))
    elif way == "flip":
        proof[where] = bytes([proof[where][0] ^ 1]) + proof[where][1:]
    else:
        roots[way == "new"] = bytes(32)
    with pytest.raises(IntegrityError):
        check_consistency(old, new, *roots, proof)


def test_a_rewritten_tree_has_no_proof() -> None:
    """An honest-looking proof of the new tree does not fit the root that was kept."""
    rewritten = [*LEAVES]
    rewritten[3] = leaf(b"something else")

    def forged(height: int, index: int) -> bytes:
        return mth(tuple(rewritten[index << height : (index + 1) << height]))

    for old in range(4, 20):
        proof = consistency_proof(old, MOST, forged)
        with pytest.raises(IntegrityError, match="rewritten|does not begin"):
            check_consistency(old, MOST, mth(tuple(LEAVES[:old])), mth(tuple(rewritten)), proof)


@pytest.mark.parametrize(
    ("old", "new", "old_root", "new_root", "proof"),
    [
        (5, 4, b"a" * 32, b"b" * 32, []),
        (4, 4, b"a" * 32, b"b" * 32, []),
        (4, 4, b"a" * 32, b"a" * 32, [b"c" * 32]),
        (0, 4, b"a" * 32, b"b" * 32, []),
        (0, 4, EMPTY_ROOT, b"b" * 32, [b"c" * 32]),
        (3, 4, b"a" * 32, b"b" * 32, []),
        (-1, 4, b"a" * 32, b"b" * 32, []),
        (3, 4, b"a" * 32, b"b" * 32, [b"short"]),
        (3, 4, b"a" * 32, b"b" * 32, [b"c" * 32] * 64),
        (3, LIMIT_SIZE + 1, b"a" * 32, b"b" * 32, [b"c" * 32]),
    ],
)
def test_what_proves_no_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> None:
    with pytest.raises(IntegrityError):
        check_consistency(old, new, old_root, new_root, proof)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_an_entry_beyond_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(IntegrityError):
        check_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    with pytest.raises(UsageError, match="no entry"):
        inclusion_proof(index, size, get_hash)


def test_a_smaller_tree_cannot_follow() -> None:
    with pytest.raises(UsageError, match="cannot follow"):
        consistency_proof(5, 4, get_hash)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 7, b"\0" * 9, b"\0" * 7 + b"\1", b"\0" * 40, b"\xff" * 8 + b"\0" * 64 * 32]
)
def test_a_frontier_that_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="frontier"):
        Frontier.from_bytes(data)


def test_a_frontier_with_a_short_hash_is_refused() -> None:
    with pytest.raises(IntegrityError, match="32 bytes"):
        Frontier(size=1, hashes=(b"short",))
