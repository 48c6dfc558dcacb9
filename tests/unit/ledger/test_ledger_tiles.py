"""Tiles: their paths, which there are, and that the tree read through them is the tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import IntegrityError, UsageError
from intact.ledger import (
    EMPTY,
    SubtreeHashes,
    Tile,
    decode_entries,
    encode_entries,
    filled,
    inclusion_proof,
    parse_path,
    tile_root,
    tiles_of,
    tree_root,
    width_of,
)
from intact.ledger.tiles import Levels
from support.ledgers import MemoryLog, leaf, mth

PATHS = {
    Tile(level=0, index=0, width=256): "tile/0/000",
    Tile(level=0, index=0, width=1): "tile/0/000.p/1",
    Tile(level=1, index=7, width=255): "tile/1/007.p/255",
    Tile(level=0, index=1234067, width=256): "tile/0/x001/x234/067",
    Tile(level=2, index=1000, width=3): "tile/2/x001/000.p/3",
    Tile(level=None, index=999, width=256): "tile/entries/999",
    Tile(level=None, index=1000, width=16): "tile/entries/x001/000.p/16",
}


@pytest.mark.parametrize("tile", PATHS, ids=str)
def test_paths_are_those_of_the_specification(tile: Tile) -> None:
    assert tile.path == PATHS[tile]
    assert parse_path(tile.path) == tile


@given(st.none() | st.integers(0, 63), st.integers(0, 2**50), st.integers(1, 256))
def test_every_path_is_read_as_what_it_was_made_of(level: int | None, index: int, width: int) -> None:
    tile = Tile(level=level, index=index, width=width)
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "tile/0/../000",
        "tile/0/001/x234",
        "tile/0/x001/x234067",
        "tile/entries/000\n",
        "tile/entries/\u0660\u0660\u0660",
        "tile/data/000",
        "checkpoint",
        "/tile/0/000",
        "tile/0/" + "x000/" * 9 + "000",
    ],
)
def test_what_is_no_path_is_none(path: str) -> None:
    assert parse_path(path) is None


def test_the_tiles_of_the_specifications_example() -> None:
    tiles = list(tiles_of(70_000))
    assert len([tile for tile in tiles if tile.level == 0 and tile.width == 256]) == 273
    partial = {tile.level: (tile.index, tile.width) for tile in tiles if tile.width < 256}
    assert partial == {0: (273, 112), 1: (1, 17), 2: (0, 1)}
    assert [tile.index for tile in tiles if tile.level == 1 and tile.width == 256] == [0]
    assert list(tiles_of(256)) == [Tile(level=0, index=0, width=256), Tile(level=1, index=0, width=1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 2000))
def test_tiles_that_fill_up_are_those_that_were_not_full(before: int, more: int) -> None:
    after = before + more
    full = [{(tile.level, tile.index) for tile in tiles_of(size) if tile.width == 256} for size in (before, after)]
    assert set(filled(before, after)) == full[1] - full[0]
    news = set(tiles_of(after)) - set(tiles_of(before))
    assert set(tiles_of(after, since=before)) >= news
    assert set(tiles_of(after, since=before)) <= set(tiles_of(after))


def test_lower_tiles_fill_first() -> None:
    assert list(filled(65_535, 65_536)) == [(0, 255), (1, 0)]


@pytest.mark.parametrize(
    ("level", "index", "size", "width"),
    [(0, 0, 0, 0), (0, 0, 5, 5), (0, 1, 300, 44), (1, 0, 300, 1), (0, 0, 300, 256), (0, 9, 300, 0)],
)
def test_widths(level: int, index: int, size: int, width: int) -> None:
    assert width_of(level, index, size) == width


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_bundles(entries: list[bytes]) -> None:
    bundle = encode_entries(entries)
    assert bundle[:2] == b"\0\x20"
    assert decode_entries(bundle, len(entries)) == entries
    assert decode_entries(bundle, 1) == entries[:1]


@pytest.mark.parametrize(
    "bundle",
    [
        b"",
        b"\0\x20",
        b"\0\x1f" + b"a" * 31,
        b"\0\x21" + b"a" * 33,
        (b"\0\x20" + b"a" * 32) * 2 + b"\0",
        b"\1\x20" + b"a" * 32,
    ],
)
def test_a_bundle_of_something_else_is_refused(bundle: bytes) -> None:
    with pytest.raises(IntegrityError, match="bundle"):
        decode_entries(bundle, 1)


def test_a_bundle_with_too_few_is_refused() -> None:
    with pytest.raises(IntegrityError):
        decode_entries(encode_entries([b"a" * 32]), 2)


SIZES = [1, 2, 255, 256, 257, 511, 512, 600, 1500]


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return MemoryLog().fill(max(SIZES))


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_read_through_tiles_is_the_tree(log: MemoryLog, size: int) -> None:
    hashes = SubtreeHashes(log, size)
    assert tree_root(size, hashes) == log.root(size)
    for index in {0, size // 2, size - 1}:
        naive = inclusion_proof(index, size, lambda h, i: mth(tuple(log.leaves[i << h : (i + 1) << h])))
        assert inclusion_proof(index, size, hashes) == naive


@pytest.mark.parametrize("size", SIZES)
def test_levels_builds_every_tile(log: MemoryLog, size: int) -> None:
    levels = Levels()
    found = [*levels.append(log.leaves[:size]), *levels.rest()]
    assert {tile for tile, _ in found} == set(tiles_of(size))
    assert all(data == log.tile(tile.level or 0, tile.index, tile.width) for tile, data in found)


def test_the_root_of_a_tile_is_a_hash_of_the_level_above(log: MemoryLog) -> None:
    assert tile_root(log.tile(0, 1, 256)) == log.tile(1, 0, 2)[32:]


def test_three_levels() -> None:
    """A log large enough for a tile of level 2, whose leaves are all alike to be quick."""
    same = leaf(b"")
    level0 = same * 256
    level1 = tile_root(level0) * 256

    class Alike:
        def tile(self, level: int, index: int, width: int) -> bytes:
            return (level0, level1, tile_root(level1) * 256)[level][: 32 * width]

    size = 65_536 + 256 + 3
    assert tree_root(size, SubtreeHashes(Alike(), size)) == EMPTY.append([same] * size).root()


def test_nothing_beyond_the_log_is_asked_for(log: MemoryLog) -> None:
    with pytest.raises(UsageError, match="no subtree"):
        SubtreeHashes(log, 100)(3, 12)


def test_a_tile_of_another_length_is_refused() -> None:
    class Short:
        def tile(self, level: int, index: int, width: int) -> bytes:
            return bytes(31)

    with pytest.raises(IntegrityError, match="31 bytes, wanted 32"):
        SubtreeHashes(Short(), 1)(0, 0)
