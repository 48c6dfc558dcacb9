"""Writing a directory so that it is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from intact.crypto.buffer import Buffer
from intact.errors import UsageError


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a fresh directory beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    The directory and every entry are on disk before the rename, and the rename before this returns. A process killed
    outright leaves at most the hidden directory `.NAME.<random>.partial`.

    Raises:
        UsageError: Something is at `out` already, its parent is no directory, or the system refused to write (a full
            disk, a missing permission).
    """
    part = out.parent / f".{out.name}.{secrets.token_hex(8)}.partial"
    renaming = done = False
    with writing(out):
        try:
            _refuse_existing(out)
            part.mkdir()
            yield part
            sync(part)
            _refuse_existing(out)
            renaming = True
            part.rename(out)
            sync(out.parent)
            done = True
        finally:
            if not done:
                if renaming and not part.exists():  # the rename was the last thing that worked
                    shutil.rmtree(out, ignore_errors=True)
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Have it told as an error of ours where the system refuses to write `out`.

    Raises:
        UsageError: It does.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write {str(out)!a}: {error.strerror}", hint="check the free space and permissions there"
        ) from error


def write_file(path: Path, pieces: Iterable[Buffer]) -> None:
    """Write the new file `path` from `pieces` and wait until it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: Buffer) -> None:
    """Put `data` into the file `path`, new or not, so that a crash at any moment leaves the old content or the new.

    A process killed outright leaves at most the hidden file `.NAME.<random>.partial` beside the directory of `path`.

    Raises:
        UsageError: The system refused to write.
    """
    folder = path.parent.resolve()  # what "." or a link stands for: beside it, and on its file system
    part = folder.parent / f".{folder.name}.{path.name}.{secrets.token_hex(8)}.partial"
    with writing(path):
        try:
            write_file(part, [data])
            part.rename(path)
            sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _refuse_existing(out: Path) -> None:
    """Raise UsageError when anything, a dangling link too, is at `out`."""
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!a} exists already", hint="choose another path, or remove it first")


def sync(directory: Path) -> None:
    """Wait until the entries of `directory` are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
