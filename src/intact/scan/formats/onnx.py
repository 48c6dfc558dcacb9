"""ONNX: standard operators only, and no data outside the model's folder.

The message is walked, not parsed: weights are passed over, so that gigabytes cost neither time nor memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from intact.scan.blob import Blob
from intact.scan.findings import Finding
from intact.scan.formats import Examined, Format
from intact.scan.protobuf import BYTES, VARINT, Field, Malformed, fields

MODEL: Final = {
    **dict.fromkeys((1, 5), VARINT),
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), BYTES),
}
"""Fields of a ModelProto and their wire types."""
GRAPH, OPSET, TRAINING, FUNCTION = 7, 8, 20, 25
DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training"})
"""Of the ONNX standard: what they compute is specified, and none of them runs code of the model's."""
EXTERNAL: Final = 1
MAX_DEPTH: Final = 32
MAX_FIELDS: Final = 500_000
MAX_TOP_FIELDS: Final = 100_000
MAX_FINDINGS: Final = 20


def recognise(blob: Blob) -> bool:
    """A message with the fields of a ModelProto from end to end, a graph and an operator set among them."""
    seen = set()
    try:
        for number, each in enumerate(fields(blob, 0, blob.size)):
            if MODEL.get(each.number) != each.wire or number > MAX_TOP_FIELDS:
                return False
            seen.add(each.number)
    except Malformed:
        return False
    return {GRAPH, OPSET} <= seen


def examine(blob: Blob, folder: Path | None) -> Examined:
    """Operators of the standard and of the model's own functions; external data, at any depth, inside the folder."""
    found = _Model(blob)
    try:
        found.read()
    except Malformed:
        found.complain("structure", "a graph that is cut off, too deep or too long")
    for tensor, location in sorted(found.outside):
        told = _wrong(location, folder)
        if told:
            found.complain("reference", f"tensor '{_printable(tensor)}' refers to '{_printable(location)}', {told}")
    for domain, operator in sorted(found.operators - found.functions):
        if domain not in DOMAINS:
            where = f"the domain '{_printable(domain)}'"
            found.complain("code", f"operator '{_printable(operator)}' comes from {where}, which was not named")
    uses = sorted({location for _, location in found.outside})
    return Examined(findings=tuple(found.findings[:MAX_FINDINGS]), uses=tuple(uses))


@dataclass(slots=True)
class _Model:
    """What a walk through a model collects."""

    blob: Blob
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)
    outside: set[tuple[str, str]] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    left: int = MAX_FIELDS

    def complain(self, kind: str, told: str) -> None:
        self.findings.append(Finding(kind=kind, told=told))

    def read(self) -> None:
        for each in self._fields(None):
            if each.number == GRAPH:
                self._graph(each, 0)
            elif each.number == TRAINING:
                for part in self._fields(each, 1, 2):
                    self._graph(part, 1)
            elif each.number == FUNCTION:
                self._function(each)

    def _fields(self, message: Field | None, *numbers: int) -> Iterator[Field]:
        """Yield the fields of a message, or of the whole file; only those that hold something, where they are named."""
        start, end = (0, self.blob.size) if message is None else (message.start, message.end)
        for each in fields(self.blob, start, end):
            self.left -= 1
            if self.left < 0 or (each.number in numbers and each.wire != BYTES):
                raise Malformed
            if not numbers or each.number in numbers:
                yield each

    def _text(self, message: Field, number: int) -> str:
        """The last field of that number, as protobuf has it; "" where there is none."""
        last = None
        for each in self._fields(message, number):
            last = each
        return "" if last is None else last.text(self.blob)

    def _function(self, message: Field) -> None:
        self.functions.add((self._text(message, 10), self._text(message, 1)))
        for each in self._fields(message, 7, 11):
            if each.number == 7:
                self._node(each, 0)
            else:
                self._attribute(each, 0)

    def _graph(self, message: Field, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Malformed
        for each in self._fields(message, 1, 5, 15):
            if each.number == 1:
                self._node(each, depth)
            elif each.number == 5:
                self._tensor(each)
            else:
                self._sparse(each)

    def _node(self, message: Field, depth: int) -> None:
        named: dict[int, Field] = {}  # the last of each
        for each in self._fields(message, 4, 5, 7):
            if each.number == 5:
                self._attribute(each, depth)
            else:
                named[each.number] = each
        domain, operator = (named[number].text(self.blob) if number in named else "" for number in (7, 4))
        self.operators.add((domain, operator))

    def _attribute(self, message: Field, depth: int) -> None:
        for each in self._fields(message, 5, 6, 10, 11, 22, 23):
            if each.number in (5, 10):
                self._tensor(each)
            elif each.number in (6, 11):
                self._graph(each, depth + 1)
            else:
                self._sparse(each)

    def _sparse(self, message: Field) -> None:
        for each in self._fields(message, 1, 2):
            self._tensor(each)

    def _tensor(self, message: Field) -> None:
        """Note where a tensor's data are, if they are elsewhere."""
        name, locations, external = "", set(), False
        for each in self._fields(message):
            if each.number == 8:
                name = each.text(self.blob)
            elif each.number == 13:
                external = True
                if self._text(each, 1) == "location":
                    locations.add(self._text(each, 2))
            elif each.number == 14:
                external |= each.wire == VARINT and each.start % 2**32 == EXTERNAL  # an enum has 32 bits
        if external:
            self.outside |= {(name, location) for location in locations or {""}}


def _wrong(location: str, folder: Path | None) -> str:
    """Say why a model may not refer to `location`; "" where it may."""
    parts = PurePosixPath(location).parts
    if not location or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
        return "outside the model's folder"
    if folder is None:
        return "outside the given bytes"
    place = folder
    for number, part in enumerate(parts):
        place = place / part
        try:
            kind = os.lstat(place).st_mode
        except (OSError, ValueError):
            return "which is not there"
        if not (stat.S_ISREG(kind) if number == len(parts) - 1 else stat.S_ISDIR(kind)):
            return "outside the model's folder" if stat.S_ISLNK(kind) else "which is no file"
    return ""


def _printable(text: str) -> str:
    return ascii(text[:80])[1:-1]


FORMAT = Format(name="ONNX", rank=3, recognise=recognise, examine=examine)
