"""Does a file load as a pickle, and what would that call? Found by following its opcodes; nothing is ever unpickled.

The walk is more lenient than Python's own reader: what that would read, the walk reads. It keeps no value but short
texts, which name what is imported.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from intact.scan.blob import MAX_READ, WINDOW, Blob, OutOfReach

MAX_OPCODES: Final = 200_000
"""Opcodes followed; what is longer counts as a pickle."""
MAX_LINE: Final = 2**16
MAX_NAME: Final = 256
MAX_IMPORTS: Final = 32
MAX_PICKLES: Final = 32
"""Pickles that follow one another in a file, as torch once wrote them."""

OPCODES: Final = {ord(each.code): each for each in pickletools.opcodes}
CALLS: Final = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
NEED_TOP: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
LENGTHS: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
NUMBER: Final = re.compile(rb"\s*[-+]?\s*[0-9._]")
FLOAT: Final = re.compile(rb"\s*[-+]?([0-9.]|inf|nan)", re.IGNORECASE)
LINES: Final[Mapping[str, Callable[[bytes], bool]]] = {
    **dict.fromkeys(("INT", "LONG", "GET", "PUT"), lambda line: NUMBER.match(line) is not None),
    "FLOAT": lambda line: FLOAT.match(line) is not None,
    "STRING": lambda line: len(line := line.strip()) > 1 and line[:1] == line[-1:] and line[:1] in (b"'", b'"'),
    "PERSID": bytes.isascii,
    "UNICODE": lambda line: True,
}
"""Whether a line can be the argument of an opcode."""
MARK: Final = object()


class NoPickle(Exception):  # noqa: N818 - an answer, not an error
    """From here on it is none."""


@dataclass(slots=True, kw_only=True)
class Walk:
    """What a walk along opcodes met.

    Args:
        stops: It came to an end as a pickle does: the file loads as one, if what it imports is there.
        beyond: It was still one when the walk ended for its length.
        imports: What it would import, "module.name", the first few.
        calls: It would call what it imports, before anything is found to be wrong.
    """

    stops: bool = False
    beyond: bool = False
    imports: list[str] = field(default_factory=list)
    calls: bool = False

    @property
    def loads(self) -> bool:
        """Whether it is a pickle, or runs like one before it fails."""
        return self.stops or self.beyond or self.runs

    @property
    def runs(self) -> bool:
        """Whether loading it imports and calls something, or may."""
        return bool(self.imports) and (self.calls or self.stops or self.beyond)

    def tell(self) -> str:
        """Say it in words."""
        named = ", ".join(ascii(name)[1:-1] for name in self.imports[:8])
        if self.runs:
            return f"a pickle: reading it calls {named}" if self.calls else f"a pickle: reading it imports {named}"
        return "a pickle: reading one can run any code"


def walk(blob: Blob) -> Walk:
    """Follow the pickles that `blob` begins with.

    Raises:
        OutOfReach: Not even its beginning can be read.
    """
    found, start = Walk(), 0
    for number in range(MAX_PICKLES):
        one = _One(blob, start)
        try:
            one.follow()
        except NoPickle:
            if number:
                break  # something else follows the pickle
        except OutOfReach:
            if one.steps < 2:
                raise  # nothing was seen of it
            one.walk.beyond = True
        _join(found, one.walk, first=not number)
        start = one.at
        if not one.walk.stops or start >= blob.size:
            break
    return found


def _join(found: Walk, more: Walk, *, first: bool) -> None:
    """Add what a further pickle of the same file does."""
    found.imports += [name for name in more.imports if name not in found.imports]
    found.calls |= more.calls
    found.beyond |= more.beyond
    if first:
        found.stops = more.stops


def _is_name(line: bytes) -> bool:
    """Whether an importer may be asked for it: a module's name need be no identifier."""
    try:
        return bool(line.decode("utf-8")) or len(line) >= MAX_LINE
    except UnicodeDecodeError:
        return len(line) >= MAX_LINE  # its first part, which may end within a letter


class _One:
    """A walk along one pickle."""

    def __init__(self, blob: Blob, start: int) -> None:
        self.walk = Walk()
        self.at = start
        self.steps = 0
        self._blob = blob
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._frame = 0  # where the frame ends that was begun last

    def follow(self) -> None:
        """Go on to the end.

        Raises:
            NoPickle: It is none, or is cut off.
            OutOfReach: It is one as far as one can see.
        """
        while not self.walk.stops:
            self.steps += 1
            if self.steps > MAX_OPCODES:
                raise OutOfReach
            opcode = OPCODES.get(self._take(1)[0])
            if opcode is None:
                raise NoPickle
            self._step(opcode)

    def _step(self, opcode: Any) -> None:
        name = opcode.name
        argument = self._argument(opcode)
        if name == "PROTO" and argument[0] > 5:
            raise NoPickle
        if name == "STOP":
            self._pop(1)
            self.walk.stops = True
            return
        if name in ("GLOBAL", "INST"):
            self._import(argument.decode("utf-8", "replace").replace("\n", "."))
        elif name == "STACK_GLOBAL":
            self._need(2)
            self._import(".".join(part if isinstance(part, str) else "?" for part in self._stack[-2:]))
        elif name.startswith("EXT"):
            self._import("a registered extension")
        self._shuffle(opcode, argument)
        if name in CALLS and self.walk.imports:
            self.walk.calls = True

    def _shuffle(self, opcode: Any, argument: bytes) -> None:
        """Do to the stack what the opcode does, values left out."""
        name, before = opcode.name, opcode.stack_before
        if name in NEED_TOP:
            self._need(1)
            if name == "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            return
        if name == "POP":
            if not self._stack:
                raise NoPickle
            self._stack.pop()  # a mark too
            return
        if pickletools.markobject in before:
            self._pop_to_mark()
            self._pop(before.index(pickletools.markobject))
        else:
            self._pop(len(before))
        value = MARK if name == "MARK" else self._text(opcode, argument)
        self._stack += [value] * len(opcode.stack_after)

    def _text(self, opcode: Any, argument: bytes) -> str | None:
        """The text that an opcode pushes, where it may name an import."""
        if opcode.name in ("BINGET", "LONG_BINGET"):
            return self._memo.get(int.from_bytes(argument, "little"))
        kinds = (pickletools.pyunicode, pickletools.pystring, pickletools.pybytes_or_str)
        if any(kind in kinds for kind in opcode.stack_after) and len(argument) <= MAX_NAME:
            return argument.decode("utf-8", "replace")
        return None

    def _import(self, name: str) -> None:
        if len(self.walk.imports) < MAX_IMPORTS and name not in self.walk.imports:
            self.walk.imports.append(name)

    def _argument(self, opcode: Any) -> bytes:
        """Read what belongs to an opcode; the long ones are passed over, and come back empty."""
        if opcode.arg is None:
            return b""
        if opcode.name in ("GLOBAL", "INST"):
            lines = [self._line(), self._line()]
            if not all(_is_name(line) for line in lines):
                raise NoPickle
            return b"\n".join(lines)
        if opcode.arg.n == pickletools.UP_TO_NEWLINE:
            line = self._line()
            if len(line) < MAX_LINE and not LINES[opcode.name](line):
                raise NoPickle
            return line
        if opcode.arg.n >= 0:
            found = self._take(opcode.arg.n)
            if opcode.name == "FRAME":
                self._enter(int.from_bytes(found, "little"))
            return found
        length = int.from_bytes(self._take(LENGTHS[opcode.arg.n]), "little")
        if length > self._blob.size - self.at:
            raise NoPickle
        if length > MAX_NAME:
            self._pass(length)
            return b"\0" * (MAX_NAME + 1)
        return self._take(length)

    def _line(self) -> bytes:
        """Read to the end of a line, and return the line, or its first part where it is long."""
        found = self._blob.some(self.at, MAX_LINE)
        end = found.find(b"\n")
        if end >= 0:
            self._pass(end + 1)
            return found[:end]
        start, self.at = self.at, self.at + len(found)
        while (end := (piece := self._blob.some(self.at, WINDOW)).find(b"\n")) < 0:
            self.at += len(piece)
            if not piece:
                raise NoPickle
            if self.at - start > MAX_READ:
                raise OutOfReach
        count, self.at = self.at + end + 1 - start, start
        self._pass(count)
        return found

    def _take(self, count: int) -> bytes:
        found = self._blob.read(self.at, count)
        if len(found) < count:
            raise NoPickle
        self._pass(count)
        return found

    def _enter(self, length: int) -> None:
        """Begin a frame: who reads a file has its bytes at once, and drops what an argument leaves of them."""
        end = self.at + length
        if self.at < self._frame < end <= self._blob.size:
            raise OutOfReach
        self._frame = max(self._frame, end)

    def _pass(self, count: int) -> None:
        """Go on behind what one read takes.

        Raises:
            OutOfReach: A frame ends inside, so readers differ in what comes next.
        """
        if self.at < self._frame < self.at + count:
            raise OutOfReach
        self.at += count

    def _need(self, count: int) -> None:
        if len(self._stack) < count or MARK in self._stack[-count:]:
            raise NoPickle

    def _pop(self, count: int) -> None:
        if count:
            self._need(count)
            del self._stack[-count:]

    def _pop_to_mark(self) -> None:
        while self._stack:
            if self._stack.pop() is MARK:
                return
        raise NoPickle
