"""Bytes of a file that nobody vouches for, read a little at a time: never more than was asked for, never the whole."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intact.errors import UsageError

MAX_READ: Final = 2**26
"""Most bytes that are read at a time."""
WINDOW: Final = 2**20


class OutOfReach(Exception):  # noqa: N818 - no error of the caller's: what it meant to look at is not looked at
    """The bytes are there, and more work away than a scan spends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes that can be read anywhere.

    Args:
        size: How many there are, or are said to be.
        fetch: `fetch(offset, count)` returns so many bytes from an offset on: fewer where the rest is out of reach,
            none where all of it is.
    """

    size: int
    fetch: Callable[[int, int], bytes]

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on, fewer at the end.

        Raises:
            OutOfReach: That is too much to read at a time, or too far into something compressed.
        """
        found = self.some(offset, count)
        if len(found) < min(count, self.size - offset):
            raise OutOfReach
        return found

    def some(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on, fewer at the end and where more is out of reach.

        Raises:
            OutOfReach: Not one of them can be read.
        """
        count = max(0, min(count, self.size - offset))
        if not count:
            return b""
        found = self.fetch(offset, count) if count <= MAX_READ else b""
        if not found:
            raise OutOfReach
        return found

    def find(self, wanted: bytes, most: int = 2**28) -> int:
        """Return where `wanted` first is, within the first `most` bytes; -1 if nowhere there."""
        keep = len(wanted) - 1
        for start in range(0, min(self.size, most), WINDOW):
            place = self.read(start, WINDOW + keep).find(wanted)
            if place >= 0:
                return start + place
        return -1


def of_bytes(data: bytes, size: int | None = None) -> Blob:
    """Return `data` as a blob; of `size` bytes, where more follow that nobody looks at."""

    return Blob(size=len(data) if size is None else size, fetch=lambda offset, count: data[offset : offset + count])


@contextmanager
def open_blob(path: Path) -> Iterator[Blob]:
    """Open the regular file at `path`; a link is not followed, and nobody is waited for.

    Raises:
        UsageError: It is no regular file, or the system refuses to read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!a}: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{str(path)!a} is not a regular file")
        yield Blob(size=found.st_size, fetch=lambda offset, count: os.pread(descriptor, count, offset))
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!a}: {error.strerror}") from error
    finally:
        os.close(descriptor)


class Stream(io.RawIOBase):
    """A blob as a file, for readers that want one."""

    def __init__(self, blob: Blob) -> None:
        super().__init__()
        self._blob = blob
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blob.size}[whence]
        if start + offset < 0:
            raise OSError("before the beginning")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """As any raw file; room for a great size that a stranger claims is not made first."""
        return super().read(min(size, WINDOW)) or b""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._blob.read(self._at, min(len(buffer), WINDOW))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
