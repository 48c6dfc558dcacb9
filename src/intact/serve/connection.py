"""An HTTP/1.1 connection with limits on time and size that uvicorn does not have: some clients are slow on purpose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD: Final = 2**15
"""Most bytes of request line and headers."""
MOST_HEADERS: Final = 100
LARGEST_GAP: Final = 2**15
"""Most bytes of a body's framing, such as chunk extensions and trailers, that come without data between."""
MOST_PIPELINED: Final = 32
"""Requests that may wait on a connection for the one before them."""
MOST_CONNECTIONS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client may take.

    Args:
        head_s: From its connection, or the begin of a request, to the end of the headers.
        request_s: To the end of the body.
        write_s: To take what is sent to it.
    """

    head_s: float = 10.0
    request_s: float = 60.0
    write_s: float = 30.0

    @classmethod
    def of(cls, head_s: float) -> Patience:
        """Return the times that go with `head_s`."""
        return cls(head_s=head_s, request_s=6 * head_s, write_s=3 * head_s)


class _Dropped(list[tuple[bytes, bytes]]):
    """Where trailers go: a field behind the body is no header, and there may be any number of them."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Keep nothing."""


class Connection(HttpToolsProtocol):
    """A connection. A client that is too slow, or whose headers are too large, is cut off."""

    patience = Patience()
    most = MOST_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._gap_bytes = 0
        self._in_head = True
        self._whole = False
        self._cycles: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its own
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._arm(self.patience.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        self.pipeline.clear()  # nobody waits for these any more
        for cycle in self._cycles:
            cycle.disconnected = True  # its own marks the latest request only, and an earlier one may be under way
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and data.find(b"\r\n\r\n", 0, LARGEST_HEAD) < 0:
                self._cut(431)
                return
        else:
            self._gap_bytes += len(data)
        super().data_received(data)
        if self._gap_bytes > LARGEST_GAP and not self._in_head:
            self._cut(408)
            return
        if self.transport.is_closing() or self._whole:
            self._disarm()
        elif self._timer is None:
            self._arm(self.patience.head_s if self._in_head else self.patience.request_s)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._whole = True, False

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes, self._gap_bytes = False, 0, 0
        self._disarm()
        if len(self.headers) > MOST_HEADERS:
            self._cut(431)
        elif len(self.pipeline) >= MOST_PIPELINED:
            self._abort()  # one read holds thousands of them, and each takes memory until its turn
        else:
            super().on_headers_complete()
            self.headers = _Dropped()
            self._cycles = [cycle for cycle in (*self._cycles, self.cycle) if not cycle.response_complete]

    def on_message_complete(self) -> None:
        self._in_head, self._whole = True, True
        if self.cycle is not None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._gap_bytes = 0
        if self.cycle is not None:
            super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.patience.write_s, self._abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self.flow is not None:
            super().resume_writing()

    def _arm(self, seconds: float) -> None:
        """Cut the connection off in so many seconds."""
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._cut, 408)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, status: int) -> None:
        """End the connection; say why where no request is under way."""
        self._disarm()
        if self.transport.is_closing():
            return
        if status == 431 or (self._in_head and (self.cycle is None or self.cycle.response_complete)):
            self.transport.write(_LINES[status])
            self.transport.close()
        else:
            self._abort()

    def _abort(self) -> None:
        """End the connection at once; whoever answers on it writes no more, for there is nothing to write to."""
        for cycle in self._cycles:
            cycle.disconnected = True
        self.transport.abort()


def _line(status: int, reason: str) -> bytes:
    body = b'{"error":"%b"}' % reason.lower().encode()
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body


_LINES: Final = {408: _line(408, "Request Timeout"), 431: _line(431, "Request Header Fields Too Large")}
