"""Fields of a protobuf message, found without reading what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from intact.scan.blob import Blob, OutOfReach

VARINT: Final = 0
BYTES: Final = 2
FIXED: Final = {1: 8, 5: 4}
MAX_VARINT: Final = 10
MAX_TAG: Final = 5
MAX_TEXT: Final = 2**16
FIRST_READ, MAX_READ = 2**7, 2**16


class Malformed(Exception):  # noqa: N818 - an answer, not an error
    """It is no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field: its number, its wire type, and where its content lies.

    Args:
        number: The field's number.
        wire: Its wire type.
        start: Where its content begins; for a varint, its value.
        end: Where it ends.
    """

    number: int
    wire: int
    start: int
    end: int

    def text(self, blob: Blob) -> str:
        """Return the content as text; only its first part where it is very long.

        Raises:
            Malformed: It is no text.
        """
        if self.wire != BYTES:
            raise Malformed
        return blob.read(self.start, min(self.end - self.start, MAX_TEXT)).decode("utf-8", "replace")


def fields(blob: Blob, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies from `start` to `end`.

    Raises:
        Malformed: It is none.
    """
    data, base, count = b"", start, FIRST_READ
    while start < end:
        place = start - base
        if place + 2 * MAX_VARINT > len(data) and base + len(data) < end:
            data, base, place = _window(blob, start, min(count, end - start)), start, 0
            count = min(2 * count, MAX_READ)
        tag, after = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32 or after - place > MAX_TAG:
            raise Malformed
        start = base + after
        if wire == VARINT:
            value, after = _varint(data, after)
            start = base + after
            yield Field(number=number, wire=wire, start=value & (2**64 - 1), end=start)
            continue
        if wire == BYTES:
            length, after = _varint(data, after)
            start = base + after
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise Malformed
        if length > end - start:
            raise Malformed
        yield Field(number=number, wire=wire, start=start, end=start + length)
        start += length


def _window(blob: Blob, start: int, count: int) -> bytes:
    """Return up to `count` bytes from `start` on: enough for a field's head, if there are so many.

    Raises:
        OutOfReach: Not even those can be read.
    """
    data = blob.some(start, count)
    if len(data) < min(count, 2 * MAX_VARINT):
        raise OutOfReach
    return data


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number at `place`, and where it ends."""
    value = shift = 0
    for byte in data[place : place + MAX_VARINT]:
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise Malformed
