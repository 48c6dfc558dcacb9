"""A log in a folder: reading it, and writing it for others to serve."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from intact.errors import IntegrityError, UsageError
from intact.ledger.tiled import CHECKPOINT, Fetch
from intact.ledger.tiles import WIDTH, LogReader, Tile, encode_entries, tiles_of, width_of


def fetch(folder: Path) -> Fetch:
    """Return what gets the files of the log in `folder`."""
    return lambda path, limit_bytes: _read(folder / path, limit_bytes)


def export(folder: Path, note: str, size: int, reader: LogReader) -> int:
    """Write a log as tiles and bundles; the checkpoint last, so that what it speaks of is there when it is.

    Args:
        folder: Where; made if it is not there. It may hold an earlier state of the same log.
        note: The checkpoint, signed.
        size: Its size. The log was checked against it.
        reader: The log.

    Returns:
        How many files were written.

    Raises:
        IntegrityError: The folder holds another log.
        UsageError: The system refuses to write.
    """
    written = 0
    try:
        for tile, data in _files(size, reader):
            path = folder / tile.path
            before = _read(path, len(data))
            if before is not None and before != data:
                raise IntegrityError(
                    f"folder {str(folder)!a} holds another log: its {tile.path} is not the same",
                    hint="export into an empty folder, and keep this one: it may be what was there before",
                )
            if before is None:
                _write(path, data)
                written += 1
        _write(folder / CHECKPOINT, note.encode())
    except OSError as error:
        raise UsageError(f"cannot write the log to {str(folder)!a}: {error.strerror}") from error
    return written + 1


def _files(size: int, reader: LogReader) -> Iterator[tuple[Tile, bytes]]:
    """Yield all bundles and tiles of a log."""
    for start in range(0, size, WIDTH):
        width = width_of(0, start // WIDTH, size)
        entries = reader.entry_hashes(start, start + width)
        yield Tile(level=None, index=start // WIDTH, width=width), encode_entries(entries)
    for tile in tiles_of(size):
        assert tile.level is not None  # bundles were before
        yield tile, reader.tile(tile.level, tile.index, tile.width)


def _read(path: Path, limit_bytes: int) -> bytes | None:
    """Return up to `limit_bytes` of a regular file, and one more; None where there is nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!a} of the log: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{str(path)!a} of the log is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit_bytes + 1)


def _write(path: Path, data: bytes) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
