"""Zip archives from strangers: .npz, and what torch and Keras keep in them. Members are read a little at a time."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from intact.scan.blob import WINDOW, Blob, Stream
from intact.scan.findings import Finding

END: Final = b"PK\x05\x06"
END_BYTES: Final = 22
END64: Final = b"PK\x06\x06"
LOCATOR: Final = b"PK\x06\x07"
ENTRY: Final = b"PK\x01\x02"
END64_BYTES, LOCATOR_BYTES = 56, 20
MAX_COMMENT: Final = 2**16
MAX_DIRECTORY: Final = WINDOW
"""Longest directory that is read: some 15,000 members."""
MAX_MEMBER: Final = 2**24
"""Bytes of one member that are looked at."""
MAX_WORK: Final = 2**28
"""Bytes that are decompressed for one file."""
BOMB_RATIO: Final = 100
BOMB_BYTES: Final = 2**30
ENCRYPTED: Final = 1
DAMAGED: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError, EOFError, OverflowError),
    *(NotImplementedError, RuntimeError, MemoryError),
)
"""What reading a damaged or hostile archive raises."""


@dataclass(slots=True)
class Budget:
    """What may still be decompressed for one file."""

    left: int = MAX_WORK


@dataclass(slots=True, kw_only=True)
class Archive:
    """An open archive.

    Args:
        file: The archive.
        members: Its members.
        findings: What is wrong with the archive itself.
    """

    file: zipfile.ZipFile
    members: list[zipfile.ZipInfo]
    findings: list[Finding] = field(default_factory=list)


def open_archive(blob: Blob) -> Archive | Finding | None:
    """Return the archive that `blob` is to who reads it as one, whatever it begins with; None where it is none.

    Where one cannot look inside, and another reader may, return what is wrong with it.
    """
    ends = list(_ends(blob))
    count = sum(leads for _, leads in ends)
    if not count:
        return None
    if any(leads and size > MAX_DIRECTORY for size, leads in ends):
        told = f"a zip archive whose directory has more than the {MAX_DIRECTORY} bytes that are read"
        return Finding(kind="archive", told=told)
    try:
        file = zipfile.ZipFile(Stream(blob))
        members = file.infolist()
    except DAMAGED:
        members = []
    if not members:
        return Finding(kind="archive", told="a zip archive that is damaged: readers differ in what they make of it")
    found = Archive(file=file, members=members, findings=list(_complaints(members)))
    if count > 1:
        told = "a zip archive with more than one directory: readers differ in which they take"
        found.findings.insert(0, Finding(kind="archive", told=told))
    return found


def _ends(blob: Blob) -> Iterator[tuple[int, bool]]:
    """Yield, for each record that may end an archive, how long it says the directory is, and if it leads to one.

    Readers differ in which record they take: what ends the file, the last one, or the last that is whole.
    """
    start = max(0, blob.size - END_BYTES - MAX_COMMENT - LOCATOR_BYTES - END64_BYTES)
    tail = blob.read(start, blob.size - start)
    place = tail.find(END)
    while 0 <= place <= len(tail) - END_BYTES:
        yield _directory(blob, tail, start, place)
        place = tail.find(END, place + 1)


def _directory(blob: Blob, tail: bytes, start: int, place: int) -> tuple[int, bool]:
    """What the record at `place` of `tail`, which begins at `start`, says of the directory; or that of zip64 before."""
    size, offset = struct.unpack_from("<II", tail, place + 12)
    places = [offset, start + place - size]
    near = place - LOCATOR_BYTES - END64_BYTES
    if near >= 0 and tail.startswith(END64, near):
        size, offset = struct.unpack_from("<QQ", tail, near + 40)
        places += [offset, start + near - size]
    wide = place >= LOCATOR_BYTES and tail.startswith(LOCATOR, place - LOCATOR_BYTES)
    return int(size), wide or any(blob.some(at, 4) == ENTRY for at in places if 0 <= at < blob.size)


def _complaints(members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    """Say what is wrong with the directory: names that lead outside, links, bombs."""
    names: set[str] = set()
    for info in members:
        name = _printable(info.filename)
        if _leads_outside(info.filename):
            yield Finding(kind="archive", told="its name leads outside the folder it is unpacked to", inside=name)
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Finding(kind="link", told="a symbolic link", inside=name)
        if info.flag_bits & ENCRYPTED:
            yield Finding(kind="archive", told="it is encrypted, so nobody can look inside", inside=name)
        if info.filename in names:
            yield Finding(kind="archive", told="two members have this name: readers take one or the other", inside=name)
        names.add(info.filename)
    size, stored = (sum(getattr(info, key) for info in members) for key in ("file_size", "compress_size"))
    if size > BOMB_BYTES and size > BOMB_RATIO * stored:
        yield Finding(kind="archive", told=f"a bomb: {stored} bytes that expand to {size}")


def member(archive: Archive, info: zipfile.ZipInfo, budget: Budget) -> Blob:
    """Return a member as a blob that decompresses no more than is read, and no more than `budget` has left."""
    opened: list[Any] = []
    seen = bytearray()

    def fetch(offset: int, count: int) -> bytes:
        wanted = min(offset + count, MAX_MEMBER)
        try:
            if not opened:
                opened.append(archive.file.open(info))
            while len(seen) < wanted and budget.left > 0:
                piece = opened[0].read(min(wanted - len(seen), budget.left))
                if not piece:
                    break
                budget.left -= len(piece)
                seen.extend(piece)
        except DAMAGED:
            return b""
        return bytes(seen[offset:wanted])

    return Blob(size=info.file_size, fetch=fetch)


def _leads_outside(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ":" in name[:2] or ".." in PurePosixPath(name).parts


def _printable(text: str) -> str:
    return ascii(text[:120])[1:-1]
