"""The log: its last entries, what was signed of it, and whether all of it is still what was signed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from intact.errors import IntactError, IntegrityError
from intact.ledger import checkpoint as checkpoints
from intact.ledger.checkpoint import Signed
from intact.ledger.event import Event
from intact.ledger.verify import check_events, check_log
from intact.serve.console.visit import WATCHERS, House, Reply, Stream, Visit, get, post
from intact.serve.refused import Refused
from intact.serve.state import Checkpoint

SHOWN: Final = 25
LONGEST_S: Final = 60.0
"""How long the console verifies; for longer logs there is the command."""
STEPS: Final = 20
"""Into how many lines its progress is cut, for entries and events each."""
MARK: Final = Markup("<!-- progress -->")


class OutOfTime(Exception):  # noqa: N818
    """The log is too long to be verified while somebody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry of the log, in words."""

    index: int
    time_s: float | None
    kind: str
    subject: str
    about: str


async def show(visit: Visit) -> Reply:
    """Show the log's end and its latest checkpoint."""
    house = visit.house
    size = await house.work(house.store.size)
    text = visit.query.get("before", "")
    stop = min(size, int(text)) if text.isascii() and text.isdigit() and len(text) < 17 else size
    start = max(0, stop - SHOWN)
    rows = await house.work(read_rows, house, start, stop)
    latest = await house.work(house.store.latest_checkpoint)
    return visit.page(
        "log",
        size=size,
        rows=rows,
        start=start,
        stop=stop,
        shown=SHOWN,
        latest=latest,
        verifier=str(house.core.parts.signer.verifier),
        origin=house.core.parts.signer.origin,
    )


def read_rows(house: House, start: int, stop: int) -> list[Row]:
    """Return entries of the log, the latest first."""
    found = [_row(start + place, event) for place, (_, event) in enumerate(house.store.events(start, stop))]
    return found[::-1]


def _row(index: int, data: bytes) -> Row:
    try:
        event = Event.decode(data)
    except IntegrityError:
        return Row(index=index, time_s=None, kind="damaged", subject="", about="this entry cannot be read")
    return Row(
        index=index, time_s=event.time_ms / 1000, kind=event.type, subject=event.subject, about=about(event.fields)
    )


def about(fields: Any) -> str:
    """Return what an event is about, in a line."""
    model, told = fields.get("model"), []
    if isinstance(model, dict):
        told.append(f"{model.get('name')}, revision {model.get('revision')}")
    elif isinstance(model, str):
        told.append(f"model {model[:12]}")
    if fields.get("grant") is not None:
        told.append(f"grant {fields['grant']}")
    found = [each for each in fields.get("guard", ()) if isinstance(each, dict)]
    for verdict, said in (("refuse", "refused by"), ("flag", "flagged by")):
        told += [f"{said} {each.get('check')}" for each in found if each.get("verdict") == verdict]
    told += [
        f"{name} {fields[name]}" for name in ("key", "role", "limit", "rate", "by") if fields.get(name) is not None
    ]
    return "; ".join(str(each) for each in told)


# ---- verification


async def verify(visit: Visit) -> Stream:
    """Verify the whole log now; the page grows as the work does.

    Raises:
        Refused: Somebody does that already.
    """
    if visit.house.verifying.locked():
        raise Refused(503, "the log is being verified for somebody else", retry_after_s=10)
    before, after = visit.html("verify", mark=MARK).split(MARK)
    return Stream(_progress(visit.house, before, after))


async def _progress(house: House, before: str, after: str) -> AsyncIterator[bytes]:
    """Yield the page: its begin, a line for each step, the outcome, its end."""
    lines: asyncio.Queue[Markup | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    stop = time.monotonic() + LONGEST_S

    def tell(line: Markup | None) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    async with house.verifying:
        yield before.encode()
        watched = _Watched(house, stop, tell)
        work = asyncio.ensure_future(house.work(_verify, house, watched, tell))
        try:
            while (line := await lines.get()) is not None:
                yield line.encode()
            await work
        finally:
            watched.stop = 0.0  # where nobody waits any more
        yield after.encode()


def _verify(house: House, watched: _Watched, tell: Any) -> None:
    """Verify, and tell how it went, whatever happens."""
    told = _verdict("unsure", "Could not be verified", "The server's log says why.")
    try:
        told = _outcome(house, watched, tell)
    except IntegrityError as error:
        told = _verdict("bad", "The log is not what was signed", f"{error.message}. {error.hint or ''}")
    except OutOfTime:
        done = f"{watched.done:,} entries were looked at in {LONGEST_S:.0f} seconds; nothing is wrong with them so far."
        told = _verdict("unsure", "Not finished", f"{done} For a log this long use intact log verify.")
    except IntactError as error:
        told = _verdict("unsure", "Could not be verified", error.message)
    finally:
        tell(told)
        tell(None)


def _outcome(house: House, watched: _Watched, tell: Any) -> Markup:
    """Return how it went.

    1. What was signed last, if anything, is read and its signature checked.
    2. What the log says of itself now is signed.
    3. Root and tiles are made anew from all entries, and must be those; the begin must be what was signed last.
    4. Every event must be the one its entry was made of.
    """
    signer = house.core.parts.signer
    last = house.store.latest_checkpoint()  # 1
    since = None if last is None else _read(house, last)
    now = _read(house, house.store.checkpoint_now(signer.sign))  # 2
    size = now.checkpoint.size
    tell(_line(f"Signed: {size:,} entries" + ("" if last is None else f"; before that, {last.size:,}")))
    watched.begin("entries", size)
    check_log(now.checkpoint, watched, since=None if since is None else since.checkpoint)  # 3
    watched.begin("events", size)
    check_events(watched, size)  # 4
    return _verdict(
        "good",
        "The log is what was signed",
        f"The root over all {size:,} entries, made anew, is the signed one: {now.checkpoint.root.hex()}. "
        f"Every event is the one its entry was made of."
        + ("" if last is None else f" The first {last.size:,} are those that were signed before."),
    )


def _read(house: House, found: Checkpoint) -> Signed:
    return checkpoints.read(found.note.encode(), house.core.parts.signer.verifier)


class _Watched:
    """The log as it is verified: counts what is read, and stops when the time is over."""

    def __init__(self, house: House, stop: float, tell: Any) -> None:
        self._store = house.store
        self._tell = tell
        self._what, self._size, self._told = "", 0, 0
        self.stop, self.done = stop, 0

    def begin(self, what: str, size: int) -> None:
        """Begin to count anew."""
        self._what, self._size, self._told, self.done = what, size, 0, 0

    def entry_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Return entries."""
        if self._what == "entries":
            self._count(stop)
        return self._store.entry_hashes(start, stop)

    def events(self, start: int, stop: int) -> Sequence[tuple[bytes, bytes]]:
        """Return salts and events."""
        self._count(stop)
        return self._store.events(start, stop)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return hashes."""
        self._count(self.done)
        return self._store.tile(level, index, width)

    def _count(self, done: int) -> None:
        if time.monotonic() > self.stop:
            raise OutOfTime
        self.done = done
        step = STEPS if done == self._size else done * STEPS // max(1, self._size)
        if step > self._told:
            self._told = step
            self._tell(_line(f"{self._what.capitalize()}: {done:,} of {self._size:,}"))


def _line(text: str) -> Markup:
    return Markup("<li>{}</li>\n").format(text)


def _verdict(look: str, title: str, text: str) -> Markup:
    """Return the end of the list, and how it went."""
    frame = Markup('</ol>\n<div class="outcome {}" role="status"><h2>{}</h2><p>{}</p></div>\n')
    return frame.format(look, title, escape(text.strip()))


ROUTES: Final = (
    get("/console/log", WATCHERS, show, "log"),
    post("/console/log/verify", WATCHERS, verify, "log"),
)
