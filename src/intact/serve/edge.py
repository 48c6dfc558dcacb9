"""The outermost layer of the HTTP server: nothing gets past it without a credential.

Inference is answered here. All other routes are applications behind it, each with a gate that says who may; a path that
no gate is for does not exist.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

from intact.errors import IntactError
from intact.serve import asgi
from intact.serve.asgi import App, Disconnected, Header, Receive, Scope, Send
from intact.serve.core import WATCHERS, Admission, Asked, Core
from intact.serve.protocol import rest
from intact.serve.protocol.request import InferRequest, InferResponse
from intact.serve.refused import RETRY_AFTER_S, Refused
from intact.serve.state import Principal

LOG: Final = logging.getLogger("intact.serve")
MODELS: Final = "/v2/models/"
INFER: Final = "/infer"
LARGEST_OTHER: Final = 2**16
"""Most bytes in the body of a request that is no inference."""
MOST_BODIES: Final = 16
"""How many bodies of the largest size there is room for; requests beyond come back later."""
SMALL: Final = 2**16
"""A body of so many bytes needs no room: who sends large ones slowly keeps no small ones out."""
RECEIPT: Final = b"intact-receipt"
OCTETS: Final[Header] = (b"content-type", b"application/octet-stream")

Gate: TypeAlias = Callable[[Scope], Awaitable[Principal | None]]
"""Returns who asks, or raises; None where the route is open to all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Routes of one beginning, and who may use them.

    Args:
        prefix: What their paths begin with; a path may also be the prefix without its last slash.
        gate: Says who may. It gets the request before any of its body is read.
        app: Answers them; `scope["state"]["principal"]` says who asks.
        reads: Whether it reads bodies itself, bounded; the others get theirs whole, of at most `LARGEST_OTHER` bytes.
    """

    prefix: str
    gate: Gate
    app: App
    reads: bool = False

    def has(self, path: str) -> bool:
        """Whether `path` is one of its routes."""
        return path.startswith(self.prefix) or path == self.prefix.rstrip("/")


class Json:
    """The REST form as the core wants it."""

    transport = "rest"
    parse = staticmethod(rest.parse)

    def write(self, response: InferResponse, request: InferRequest) -> rest.Body:
        """Return the bytes of a response."""
        return rest.format(response, request)

    def refusal(self, error: Refused) -> bytes:
        """Return the bytes that tell why there is no answer."""
        return rest.error_body(error.message, error.hint)


class Edge:
    """The ASGI application that the server runs.

    Args:
        core: Answers inference.
        areas: All other routes, the most particular first.
        largest: Most bytes in the body of an inference request.
    """

    def __init__(self, core: Core, areas: Sequence[Area], *, largest: int) -> None:
        self._core = core
        self._areas = tuple(areas)
        self._largest = largest
        self._room = MOST_BODIES * largest
        self._wire = Json()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        principal: Principal | None = None
        admission: Admission | None = None
        if self._core.draining:
            send = asgi.closing(send)
        try:
            path: str = scope["path"]
            if scope["method"] == "POST" and path.startswith(MODELS) and path.endswith(INFER):
                values = asgi.only(scope["headers"], *_INFER_HEADERS)
                principal = await self._core.identify(_text(values[0]))
                name, version = _named(scope["raw_path"])
                admission = await self._core.admit(principal, name, version)
                await self._infer(admission, values, receive, send)
            else:
                principal = await self._other(scope, receive, send)
        except Disconnected:
            return
        except IntactError as error:
            served = None if admission is None else admission.served
            await asgi.tell(send, self._core.refuse(error, "rest", principal, served))

    async def _infer(self, admission: Admission, values: list[bytes | None], receive: Receive, send: Send) -> None:
        """Answer an inference request of a caller who was admitted."""
        _, encoding, coding, said, header_length, nonce = values
        _refuse_coded(encoding, coding)
        size = asgi.length(said, "content-length")
        room = self._largest if size is None else min(self._largest, size)
        room = 0 if room <= SMALL else room
        if room > self._room:
            raise Refused(503, "too many large requests are under way", retry_after_s=RETRY_AFTER_S)
        self._room -= room
        try:
            body = await asgi.read(receive, size, self._largest)
            asked = Asked(body, asgi.length(header_length, rest.HEADER_LENGTH), _text(nonce) or "")
            answer = await self._core.answer(admission, asked, self._wire)
        finally:
            self._room += room
        receipt = (RECEIPT, base64.b64encode(answer.receipt))
        if answer.refused is not None:
            await asgi.respond(send, answer.refused.status, answer.body.data, asgi.JSON, receipt)
        elif answer.body.header_length is None:
            await asgi.respond(send, 200, answer.body.data, asgi.JSON, receipt)
        else:
            extent = (rest.HEADER_LENGTH.encode(), b"%d" % answer.body.header_length)
            await asgi.respond(send, 200, answer.body.data, OCTETS, extent, receipt)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> Principal | None:
        """Answer a request of another route, once its gate lets it pass."""
        path: str = scope["path"]
        area = next((area for area in self._areas if area.has(path)), None)
        if area is None:
            await self._core.identify(_authorization(scope))  # who is nobody is not told which paths there are
            raise Refused(404, "there is nothing at this address")
        principal = await area.gate(scope)
        scope["state"]["principal"] = principal
        encoding, coding, said = asgi.only(scope["headers"], *_BODY_HEADERS)
        _refuse_coded(encoding, coding)
        if not area.reads:
            receive = given(await asgi.read(receive, asgi.length(said, "content-length"), LARGEST_OTHER), receive)
        await area.app(scope, receive, send)
        return principal


_BODY_HEADERS: Final = (b"content-encoding", b"transfer-encoding", b"content-length")
_INFER_HEADERS: Final = (
    b"authorization",
    *_BODY_HEADERS,
    rest.HEADER_LENGTH.encode(),
    b"intact-nonce",
)


def anybody(core: Core) -> Gate:
    """Return the gate for everybody with a credential."""

    async def gate(scope: Scope) -> Principal:
        return await core.identify(_authorization(scope))

    return gate


def watchers(core: Core) -> Gate:
    """Return the gate for administrators and auditors."""

    async def gate(scope: Scope) -> Principal:
        principal = await core.identify(_authorization(scope))
        if principal.role not in WATCHERS:
            raise Refused(403, "not granted: this is for administrators and auditors")
        return principal

    return gate


async def everybody(_: Scope) -> None:
    """Let all pass: for what the operator chose to open."""


def _refuse_coded(encoding: bytes | None, coding: bytes | None) -> None:
    """Accept a body that comes as it is, or in plain chunks: no two readers can see two bodies in it.

    Raises:
        Refused: It is coded in another way.
    """
    if encoding is not None and encoding.lower() != b"identity":
        raise Refused(415, "bodies with a Content-Encoding are not taken", hint="send the body as it is")
    if coding is not None and coding.lower() != b"chunked":
        raise Refused(415, "bodies with a Transfer-Encoding but chunked are not taken", hint="send the body as it is")


def _authorization(scope: Scope) -> str | None:
    (value,) = asgi.only(scope["headers"], b"authorization")
    return _text(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def given(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already."""
    parts = [body]

    async def again() -> asgi.Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return again


def _named(raw_path: bytes) -> tuple[str, str]:
    """Return model and version in "/v2/models/NAME[/versions/VERSION]/infer".

    Raises:
        Refused: The path has another form.
    """
    parts = raw_path.decode("latin-1")[len(MODELS) : -len(INFER)].split("/")
    if len(parts) == 1:
        return unquote(parts[0]), ""
    if len(parts) == 3 and parts[1] == "versions" and parts[2]:
        return unquote(parts[0]), unquote(parts[2])
    raise Refused(404, "there is nothing at this address")
