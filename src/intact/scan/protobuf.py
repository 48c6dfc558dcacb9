"""Fields of a protobuf message, found without reading what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from intact.scan.blob import Blob

VARINT: Final = 0
BYTES: Final = 2
FIXED: Final = {1: 8, 5: 4}
MAX_VARINT: Final = 10
MAX_TEXT: Final = 2**16


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
    while start < end:
        tag, start = _varint(blob, start, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed
        if wire == VARINT:
            value, start = _varint(blob, start, end)
            yield Field(number=number, wire=wire, start=value, end=start)
            continue
        if wire == BYTES:
            length, start = _varint(blob, start, end)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise Malformed
        if length > end - start:
            raise Malformed
        yield Field(number=number, wire=wire, start=start, end=start + length)
        start += length


def _varint(blob: Blob, start: int, end: int) -> tuple[int, int]:
    """Return the number at `start`, and where it ends."""
    value = 0
    for place, byte in enumerate(blob.read(start, min(MAX_VARINT, end - start))):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise Malformed
