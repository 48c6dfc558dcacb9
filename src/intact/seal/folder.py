"""Reading the directory of an artifact whose contents may be hostile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from intact.errors import IntegrityError, UsageError
from intact.seal import layout

_ALWAYS = {layout.WEIGHTS, layout.MANIFEST, layout.LINEAGE}
_SEALED = _ALWAYS | {layout.HEADER_SEALED, layout.KEYS}
_PLAIN = _ALWAYS | {layout.HEADER_PLAIN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The open files of an artifact: only regular ones, only the fixed names, none larger than its limit.

    Args:
        descriptors: File descriptor of each file, by name.
        sizes: Size of each file in bytes when it was opened, by name.
    """

    descriptors: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def sealed(self) -> bool:
        """Whether the files are those of a sealed artifact."""
        return layout.HEADER_SEALED in self.sizes

    @property
    def signed(self) -> bool:
        """Whether there is a signature, of whatever worth."""
        return layout.SIGNATURE in self.sizes

    def read(self, name: str) -> bytes:
        """Return the whole file `name`.

        Raises:
            IntegrityError: The file changed size since it was opened.
        """
        data = bytearray(self.sizes[name])
        self.read_into(name, 0, memoryview(data))
        return bytes(data)

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """Fill `out` with the bytes of file `name` from `offset` on; usable from any thread.

        Raises:
            IntegrityError: The file ends before `out` is full.
        """
        done = 0
        while done < len(out):
            count = os.preadv(self.descriptors[name], [out[done:]], offset + done)
            if count == 0:
                raise IntegrityError(f"{name} became shorter while it was read")
            done += count


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Open the artifact at `path`: names, kinds and sizes are checked, no byte is read yet.

    Raises:
        UsageError: There is no directory at `path`, or the system refuses to read it.
        IntegrityError: A file is missing, has no business here, is not a regular file, or is too large.
    """
    with ExitStack() as stack:
        try:
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, directory)
            names = _names(directory)
            _check_names(names)
            descriptors, sizes = {}, {}
            for name in sorted(names):
                descriptors[name] = _open_regular(directory, name)
                stack.callback(os.close, descriptors[name])
                sizes[name] = _size(descriptors[name], name)
            yield Folder(descriptors=descriptors, sizes=sizes)
        except OSError as error:
            raise UsageError(f"cannot read artifact {str(path)!a}: {error.strerror}") from error


def _names(directory: int) -> set[str]:
    """Return the names in `directory`, stopping at the first that no artifact has."""
    names = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name not in layout.LIMITS:
                raise IntegrityError(f"artifact holds a file {entry.name!a:.80}, which does not belong to it")
            names.add(entry.name)
    return names


def _check_names(names: set[str]) -> None:
    """Raise IntegrityError unless the names are those of a sealed or of a plain artifact, signed or not."""
    if layout.COUNTERSIGNATURES in names and layout.SIGNATURE not in names:
        raise IntegrityError(f"artifact has {layout.COUNTERSIGNATURES} without {layout.SIGNATURE}")
    names = names - {layout.SIGNATURE, layout.COUNTERSIGNATURES}
    wanted = _SEALED if layout.HEADER_SEALED in names else _PLAIN
    if names != wanted:
        name = min(names ^ wanted)
        raise IntegrityError(f"artifact has {'no' if name in wanted else 'a stray'} {name}")


def _open_regular(directory: int, name: str) -> int:
    """Return a descriptor of the regular file `name`, never following a link, never waiting for a writer."""
    before = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(before.st_mode):
        raise IntegrityError(f"{name} is not a regular file")
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    after = os.fstat(descriptor)
    if not os.path.samestat(before, after):
        os.close(descriptor)
        raise IntegrityError(f"{name} was replaced while it was opened")
    return descriptor


def _size(descriptor: int, name: str) -> int:
    """Return the size of an open file, which must be within the limit of its name."""
    size = os.fstat(descriptor).st_size
    if size > layout.LIMITS[name]:
        raise IntegrityError(f"{name} has {size} bytes, more than the {layout.LIMITS[name]} allowed")
    return size
