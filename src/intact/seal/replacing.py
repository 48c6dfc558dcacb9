"""Putting the new in the place of the old, so that at any moment one of them is there whole."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from intact.errors import UsageError
from intact.seal.staging import sync, writing

_HERE: Final = -100
"""AT_FDCWD: paths begin where the process stands."""
_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of renameat2(2)."""
_UNSUPPORTED: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the directory `path`, so that nobody else who holds it like this changes it meanwhile.

    Raises:
        UsageError: There is no directory at `path`, it was replaced while this waited, or the system refuses.
    """
    try:
        with ExitStack() as stack:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed, or the process ends
            if not os.path.samestat(os.fstat(descriptor), path.stat()):
                raise UsageError(f"{str(path)!a} was replaced by somebody else meanwhile", hint="try again")
            yield
    except OSError as error:
        raise UsageError(
            f"cannot change {str(path)!a}: {error.strerror}", hint="check that it is an artifact you may write to"
        ) from error


@contextmanager
def swapped(out: Path) -> Iterator[Path]:
    """Give a fresh directory beside `out` that takes its place when the block ends well, and vanishes when it does not.

    The directory and every entry are on disk before both change places, in one step, and the old one is removed
    after. A process that is killed, or cannot remove it, leaves the hidden directory `.NAME.<random>.partial`, old or
    new.

    Raises:
        UsageError: There is no directory at `out`, its file system cannot do this, or the system refused to write.
    """
    whole = out.resolve()  # what a link leads to, not the link
    part = whole.parent / f".{whole.name}.{secrets.token_hex(8)}.partial"
    with writing(out):
        try:
            part.mkdir()
            yield part
            part.chmod(out.stat().st_mode & 0o777)
            sync(part)
            exchange(part, whole)
            sync(whole.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step.

    Raises:
        UsageError: The system or the file system cannot do that.
        OSError: It refuses.

    Source:
        renameat2(2), Linux.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise _unable(other) from None
    if call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), ctypes.c_uint(_EXCHANGE)) == 0:
        return
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        raise _unable(other)
    raise OSError(number, os.strerror(number), str(other))


def _unable(path: Path) -> UsageError:
    return UsageError(
        f"the file system of {str(path)!a} cannot swap two directories in one step",
        hint="write the new artifact to another path (--out)",
    )
