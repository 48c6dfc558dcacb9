"""Plain ASGI: headers by name, a body of bounded length, a response in two messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from intact.serve.protocol.rest import error_body
from intact.serve.refused import Refused, bad_request

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
LONGEST_LENGTH: Final = 15
"""Digits of a length; more is no length of anything."""

ALWAYS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


CLOSE: Final[Header] = (b"connection", b"close")


class Disconnected(Exception):  # noqa: N818 - nothing is wrong
    """The client left before its request was whole; there is nobody to tell."""


def only(headers: Iterable[Header], *names: bytes) -> list[bytes | None]:
    """Return the values of `names`, each in lower case, in order; None for those that are absent.

    Raises:
        Refused: One comes twice, so that two readers could see two requests.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in names:
            if name in found:
                raise bad_request(f"header {name.decode()} comes twice")
            found[name] = value
    return [found.get(name) for name in names]


def length(value: bytes | None, name: str) -> int | None:
    """Return the number of bytes that a header says; None where it is absent.

    Raises:
        Refused: It is no such number.
    """
    if value is None:
        return None
    if not value.isdigit() or len(value) > LONGEST_LENGTH:
        raise bad_request(f"header {name} is no number of bytes")
    return int(value)


async def read(receive: Receive, said: int | None, limit: int) -> bytes:
    """Return the body of a request.

    Args:
        receive: Gives its parts.
        said: What `content-length` says; None where it comes in chunks.
        limit: Most bytes it may have.

    Raises:
        Refused: It has more.
        Disconnected: It ended too early.
    """
    if said is not None and said > limit:
        raise Refused(413, f"body has {said} bytes, more than the {limit} allowed")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        parts = [body]
    else:
        parts = await _rest(message, receive, limit)
    if sum(map(len, parts)) > limit:
        raise Refused(413, f"body has more than the {limit} bytes allowed")
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _rest(message: Message, receive: Receive, limit: int) -> list[bytes]:
    """Return the parts of a body that came as several messages, until they are all there or too many bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit or not message.get("more_body"):
            return parts
        message = await receive()


def closing(send: Send) -> Send:
    """Return `send`, but the connection ends with the response, so that the next request goes to another server."""

    async def last(message: Message) -> None:
        if message["type"] == "http.response.start" and CLOSE not in message["headers"]:
            message["headers"] = [*message["headers"], CLOSE]
        await send(message)

    return last


async def respond(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Send a whole response."""
    size = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, size, *ALWAYS]})
    await send({"type": "http.response.body", "body": body})


async def tell(send: Send, error: Refused, *headers: Header) -> None:
    """Send why there is no answer."""
    more: list[Header] = [JSON, *headers]
    if error.retry_after_s is not None:
        more.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.status == 401:
        more.append((b"www-authenticate", b'Bearer realm="intact"'))
    if error.status in (408, 413):
        more.append(CLOSE)  # what is left of the body is not read
    await respond(send, error.status, error_body(error.message, error.hint), *more)
