"""Tiles: the tree in pieces of 256 hashes, and the entries in bundles of 256, as others fetch them.

Source:
    C2SP tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from intact.errors import IntegrityError, UsageError
from intact.ledger.tree import HASH_BYTES, LIMIT_SIZE, node_hash

WIDTH: Final = 256
"""Hashes of a full tile, entries of a full bundle."""
HEIGHT: Final = 8
MOST_LEVELS: Final = (LIMIT_SIZE.bit_length() + HEIGHT - 1) // HEIGHT
LIMIT_BUNDLE_BYTES: Final = WIDTH * (2 + HASH_BYTES)
"""Longest bundle of this log: its entries are hashes."""
_PATH: Final = re.compile(r"tile/(entries|0|[1-9]\d?)/((?:x\d{3}/){0,6})(\d{3})(?:\.p/([1-9]\d{0,2}))?")


class TileReader(Protocol):
    """Where tiles are had from: a folder, a server, a database."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, joined.

        Args:
            level: Level of the tile; 0 holds leaf hashes.
            index: Number of the tile in its level.
            width: How many of its hashes, 1 to 256; the log is large enough to have them.
        """
        ...


class EntryReader(Protocol):
    """Where entries are had from."""

    def entry_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Return entries `start` to `stop`, without the last: 32 bytes each, salted hashes of events."""
        ...


class LogReader(TileReader, EntryReader, Protocol):
    """Where all of a log is had from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A tile or a bundle.

    Args:
        level: Of a tile; None for a bundle of entries.
        index: Its number.
        width: How many hashes or entries, 1 to 256.
    """

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it is, below the address of the log."""
        kind = "entries" if self.level is None else str(self.level)
        number = f"{self.index:03d}"
        number = "0" * (-len(number) % 3) + number
        *first, last = [number[start : start + 3] for start in range(0, len(number), 3)]
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{''.join(f'x{each}/' for each in first)}{last}{part}"


def parse_path(path: str) -> Tile | None:
    """Return the tile or bundle that `path` names, None where it names none; each has one path."""
    found = _PATH.fullmatch(path) if path.isascii() else None
    if found is None:
        return None
    kind, first, last, width = found.groups()
    level = None if kind == "entries" else int(kind)
    tile = Tile(level=level, index=int(re.sub(r"\D", "", first) + last), width=int(width or WIDTH))
    return tile if tile.path == path and tile.width <= WIDTH and (level or 0) < 64 else None


def width_of(level: int, index: int, size: int) -> int:
    """Return how many hashes a tile of a log of `size` entries has; 0 where there is none."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - WIDTH * index))


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Yield every tile of a log of `size` entries that one of `since` does not have as it is: full ones and partial."""
    for level in range(MOST_LEVELS):
        count = size >> (HEIGHT * level)
        if not count:
            return
        before = since >> (HEIGHT * level)
        if before == count:
            continue
        for index in range(before // WIDTH, (count + WIDTH - 1) // WIDTH):
            yield Tile(level=level, index=index, width=width_of(level, index, size))


def filled(before: int, after: int) -> Iterator[tuple[int, int]]:
    """Yield level and index of the tiles that become full when a log grows, lower levels first."""
    for level in range(MOST_LEVELS):
        step = HEIGHT * (level + 1)
        if after >> step == 0:
            return
        for index in range(before >> step, after >> step):
            yield level, index


def tile_root(tile: bytes) -> bytes:
    """Return the root over the hashes of a tile, whose number is a power of two."""
    hashes = [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return a bundle: every entry behind its length in two bytes, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(bundle: bytes, width: int) -> list[bytes]:
    """Return the first `width` entries of a bundle; those of this log are 32 bytes long.

    Raises:
        IntegrityError: The bundle does not hold so many such entries, or something else.
    """
    size = 2 + HASH_BYTES
    lengths = {bundle[start : start + 2] for start in range(0, len(bundle), size)}
    if len(bundle) % size or len(bundle) < size * width or lengths != {HASH_BYTES.to_bytes(2, "big")}:
        raise IntegrityError(f"bundle of entries does not hold {width} of {HASH_BYTES} bytes")
    return [bundle[start + 2 : start + size] for start in range(0, size * width, size)]


class SubtreeHashes:
    """The hashes of complete subtrees of a log, computed from its tiles; what proofs are made of.

    Nothing that it returns is to be trusted before a proof made from it was checked.

    Args:
        reader: Where tiles are had from.
        size: Size of the log: no tile beyond it is asked for.
    """

    def __init__(self, reader: TileReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._tiles: dict[tuple[int, int], bytes] = {}

    def __call__(self, height: int, index: int) -> bytes:
        """Return the hash of the complete subtree number `index` of height `height`.

        Raises:
            UsageError: The log has no such subtree.
            IntegrityError: A tile has a wrong length.
        """
        if height < 0 or index < 0 or (index + 1) << height > self._size:
            raise UsageError(f"a log of {self._size} entries has no subtree {index} of height {height}")
        level, rest = divmod(height, HEIGHT)
        first = index << rest  # its first hash in the level of the tile
        tile = self._tile(level, first // WIDTH)
        start = HASH_BYTES * (first % WIDTH)
        return tile_root(tile[start : start + (HASH_BYTES << rest)])

    def _tile(self, level: int, index: int) -> bytes:
        if (level, index) not in self._tiles:
            width = width_of(level, index, self._size)
            self._tiles[level, index] = checked(self._reader.tile(level, index, width), level, index, width)
        return self._tiles[level, index]


def checked(tile: bytes, level: int, index: int, width: int) -> bytes:
    """Return a tile of the right length.

    Raises:
        IntegrityError: It has another.
    """
    if len(tile) != HASH_BYTES * width:
        raise IntegrityError(f"tile {index} of level {level} has {len(tile)} bytes, wanted {HASH_BYTES * width}")
    return tile


class Levels:
    """Builds every tile of a log from its leaf hashes, in order."""

    def __init__(self) -> None:
        self._open: list[list[bytes]] = []
        self._counts: list[int] = []

    def append(self, leaves: Sequence[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Take more leaf hashes; yield the tiles that become full, with their bytes, lower levels first."""
        for leaf in leaves:
            yield from self._push(0, leaf)

    def rest(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the partial tiles, lower levels first."""
        for level, hashes in enumerate(self._open):
            if hashes:
                yield Tile(level=level, index=self._counts[level], width=len(hashes)), b"".join(hashes)

    def _push(self, level: int, each: bytes) -> Iterator[tuple[Tile, bytes]]:
        if level == len(self._open):
            self._open.append([])
            self._counts.append(0)
        self._open[level].append(each)
        if len(self._open[level]) == WIDTH:
            tile = b"".join(self._open[level])
            yield Tile(level=level, index=self._counts[level], width=WIDTH), tile
            self._open[level] = []
            self._counts[level] += 1
            yield from self._push(level + 1, tile_root(tile))
