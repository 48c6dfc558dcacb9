"""A log as others serve it: files of a folder, or addresses of a server, laid out in tiles and bundles.

Source:
    C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from intact.errors import IntegrityError, UsageError
from intact.ledger import note
from intact.ledger.tiles import LIMIT_BUNDLE_BYTES, WIDTH, Tile, checked, decode_entries, width_of
from intact.ledger.tree import HASH_BYTES

CHECKPOINT: Final = "checkpoint"
"""Where the newest checkpoint is."""

Fetch: TypeAlias = Callable[[str, int], bytes | None]
"""Returns what is at a path, at most so many bytes of it and one more; None where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledLog:
    """A log of a known size, read through `fetch`; nothing that it returns is verified.

    Args:
        fetch: Gets a file of the log.
        size: Size of the log, from a checkpoint that was verified: nothing beyond is asked for.
    """

    fetch: Fetch
    size: int

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, joined.

        Raises:
            IntegrityError: It is not there, or has another length.
        """
        data = self._get(Tile(level=level, index=index, width=width), HASH_BYTES * WIDTH)
        return checked(data[: HASH_BYTES * width], level, index, width)

    def entry_hashes(self, start: int, stop: int) -> list[bytes]:
        """Return entries `start` to `stop`, without the last.

        Raises:
            IntegrityError: They are not there.
        """
        found: list[bytes] = []
        for index in range(start // WIDTH, (stop + WIDTH - 1) // WIDTH):
            width = width_of(0, index, self.size)
            bundle = self._get(Tile(level=None, index=index, width=width), LIMIT_BUNDLE_BYTES)
            found.extend(decode_entries(bundle, width))
        first = start // WIDTH * WIDTH
        return found[start - first : stop - first]

    def _get(self, tile: Tile, limit_bytes: int) -> bytes:
        """Return a tile or a bundle; the full one where there is no partial one any more."""
        data = self.fetch(tile.path, limit_bytes)
        if data is None and tile.width < WIDTH:
            data = self.fetch(Tile(level=tile.level, index=tile.index, width=WIDTH).path, limit_bytes)
        if data is None:
            raise IntegrityError(f"log lacks {tile.path}, which a log of {self.size} entries has")
        if len(data) > limit_bytes:
            raise IntegrityError(f"{tile.path} of the log has more than the {limit_bytes} bytes allowed")
        return data


def newest_checkpoint(fetch: Fetch) -> bytes:
    """Return the newest checkpoint of a log, unverified.

    Raises:
        UsageError: It has none.
    """
    data = fetch(CHECKPOINT, note.LIMIT_BYTES)
    if data is None:
        raise UsageError("there is no log: no checkpoint was found", hint="name the folder or address that holds it")
    return data
