"""The gRPC server. Handlers get raw bytes, so that receipts speak of exactly what went over the wire.

Every method is registered as one that takes a stream, and reads the one message itself: gRPC would have it whole before
anybody had asked for a credential, and would wait for it for ever, while the call counts among those at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version as version_of
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from intact.errors import IntactError, UsageError
from intact.serve.core import Admission, Asked, Core
from intact.serve.protocol import grpc_messages as messages
from intact.serve.protocol.request import InferRequest, InferResponse
from intact.serve.protocol.rest import Body
from intact.serve.refused import GRPC_CODES, RETRY_AFTER_S, Refused, bad_request
from intact.serve.state import Principal

LOG: Final = logging.getLogger("intact.serve")
MOST_CALLS: Final = 128
"""Calls at a time; more are told to come back."""
MOST_MESSAGES: Final = 16
"""How many messages of the largest size there is room for; requests beyond come back later."""
MESSAGE_S: Final = 60.0
"""How long a caller may take to send its message."""
MOST_CONNECTIONS: Final = 1000
MOST_METADATA: Final = 2**14
RECEIPT: Final = "intact-receipt-bin"
NONCE: Final = "intact-nonce"
PUSHBACK: Final = "grpc-retry-pushback-ms"
OPEN: Final = frozenset({"ServerLive", "ServerReady"})
IDENTITY_ONLY: Final = 1
"""Bit set of the compressions that are taken: a small message must not become a large one."""

_FAILED: Final = Refused(503, "the server cannot answer now", retry_after_s=RETRY_AFTER_S)

Method: TypeAlias = Callable[[bytes, Principal | None, Any], Awaitable[bytes]]


class Grpc:
    """The gRPC form of one request, as the core wants it.

    Args:
        message: The request, decoded.
    """

    transport = "grpc"
    __slots__ = ("_message",)

    def __init__(self, message: Any) -> None:
        self._message = message

    def parse(self, _body: bytes, _header_length: int | None) -> InferRequest:
        """Return the request."""
        return messages.parse(self._message)

    def write(self, response: InferResponse, request: InferRequest) -> Body:
        """Return the bytes of a response."""
        return Body(messages.format(response, request), None)

    def refusal(self, error: Refused) -> bytes:
        """Return the bytes that tell why there is no answer: those of the status message."""
        return _details(error).encode()


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """All methods, and a refusal for all that are none.

    Args:
        core: What answers.
        largest: Most bytes in a message.
        open_health: Whether health needs no credential.
        message_s: How long a caller may take to send its message.
    """

    def __init__(self, core: Core, *, largest: int, open_health: bool = False, message_s: float = MESSAGE_S) -> None:
        self._core = core
        self._room = MOST_MESSAGES * largest
        self._message_s = message_s
        methods: dict[str, Method] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._server,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model,
        }
        prefix = f"/{messages.SERVICE}/"
        self._handlers = {
            prefix + name: grpc.stream_unary_rpc_method_handler(
                self._handle(method, needs=name not in OPEN or not open_health)
            )
            for name, method in methods.items()
        }
        self._handlers[f"{prefix}ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._infer)
        self._unknown = grpc.stream_stream_rpc_method_handler(self._refuse)

    def service(self, handler_call_details: Any) -> Any:
        """Return what handles a call; there is always something, which asks for a credential."""
        return self._handlers.get(handler_call_details.method, self._unknown)

    async def _infer(self, _: Any, context: Any) -> bytes:
        principal: Principal | None = None
        admission: Admission | None = None
        held = 0
        try:
            authorization, nonce = _only(context.invocation_metadata(), "authorization", NONCE)
            principal = await self._core.identify(authorization)
            data = await self._read(context)
            if len(data) > self._room:
                raise Refused(503, "too many large requests are under way", retry_after_s=RETRY_AFTER_S)
            held = len(data)
            self._room -= held
            message = messages.decode("ModelInferRequest", data)
            admission = await self._core.admit(principal, message.model_name, message.model_version)
            answer = await self._core.answer(admission, Asked(data, None, nonce or ""), Grpc(message))
        except IntactError as error:
            served = None if admission is None else admission.served
            await _abort(context, self._core.refuse(error, "grpc", principal, served))
        except Exception:  # gRPC would tell its text
            LOG.exception("call failed")
            await _abort(context, self._core.refuse(_FAILED, "grpc", principal, None))
        finally:
            self._room += held
        receipt = ((RECEIPT, answer.receipt),)
        if answer.refused is not None:
            await _abort(context, answer.refused, *receipt)
        context.set_trailing_metadata(receipt)
        return answer.body.data

    async def _read(self, context: Any) -> bytes:
        """Return the message of a call.

        Raises:
            Refused: There is none, or it takes too long.
        """
        try:
            async with asyncio.timeout(self._message_s):
                data = await context.read()
        except TimeoutError:
            raise Refused(408, "the message took too long") from None
        if not isinstance(data, bytes):
            raise bad_request("the call has no message")
        return data

    def _handle(self, method: Method, *, needs: bool) -> Callable[[Any, Any], Awaitable[bytes]]:
        """Return `method` behind a check of the credential, where it needs one."""

        async def handle(_: Any, context: Any) -> bytes:
            principal: Principal | None = None
            try:
                if needs:
                    principal = await self._identify(context)
                return await method(await self._read(context), principal, context)
            except IntactError as error:
                await _abort(context, self._core.refuse(error, "grpc", principal, None))
                raise AssertionError from error  # aborting raises
            except Exception as error:  # gRPC would tell its text
                LOG.exception("call failed")
                await _abort(context, self._core.refuse(_FAILED, "grpc", principal, None))
                raise AssertionError from error

        return handle

    async def _refuse(self, _: Any, context: Any) -> None:
        """Answer a call of a method that there is not."""
        try:
            principal = await self._identify(context)
        except IntactError as error:
            await _abort(context, self._core.refuse(error, "grpc", None, None))
        except Exception:  # gRPC would tell its text
            LOG.exception("call failed")
            await _abort(context, self._core.refuse(_FAILED, "grpc", None, None))
        await _abort(context, self._core.refuse(Refused(405, "there is no such method"), "grpc", principal, None))

    async def _identify(self, context: Any) -> Principal:
        (authorization,) = _only(context.invocation_metadata(), "authorization")
        return await self._core.identify(authorization)

    async def _live(self, data: bytes, _principal: Principal | None, _context: Any) -> bytes:
        messages.decode("ServerLiveRequest", data)
        return _bytes("ServerLiveResponse", live=True)

    async def _ready(self, data: bytes, _principal: Principal | None, _context: Any) -> bytes:
        messages.decode("ServerReadyRequest", data)
        try:
            await self._core.check_ready()
        except IntactError:
            return _bytes("ServerReadyResponse", ready=False)
        return _bytes("ServerReadyResponse", ready=True)

    async def _server(self, data: bytes, _principal: Principal | None, _context: Any) -> bytes:
        messages.decode("ServerMetadataRequest", data)
        return _bytes("ServerMetadataResponse", name="intact", version=version_of("intact"))

    async def _model_ready(self, data: bytes, principal: Principal | None, _context: Any) -> bytes:
        asked = messages.decode("ModelReadyRequest", data)
        assert principal is not None  # this method is never open
        await self._core.may_see(principal, asked.name, asked.version)
        await self._core.check_ready()
        return _bytes("ModelReadyResponse", ready=True)

    async def _model(self, data: bytes, principal: Principal | None, _context: Any) -> bytes:
        asked = messages.decode("ModelMetadataRequest", data)
        assert principal is not None  # this method is never open
        served = await self._core.may_see(principal, asked.name, asked.version)
        return _bytes("ModelMetadataResponse", **served.metadata(self._core.models.versions(served.name)))


def build(service: Service, address: str, credentials: Any, *, largest: int) -> tuple[Any, int]:
    """Return a gRPC server, not started, and its port.

    Args:
        service: What it serves.
        address: Host and port; port 0 for any that is free.
        credentials: TLS keys; None for plain connections.
        largest: Most bytes in a message.

    Raises:
        UsageError: The port is taken.
    """
    options: Sequence[tuple[str, int]] = (
        ("grpc.so_reuseport", 0),  # or two servers would share a port without a word
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", MOST_METADATA),
        ("grpc.absolute_max_metadata_size", MOST_METADATA),
        ("grpc.max_concurrent_streams", MOST_CALLS),
        ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 5),
        ("grpc.max_connection_idle_ms", 600_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.enable_http_proxy", 0),
    )
    server = grpc.aio.server(handlers=(service,), options=options, maximum_concurrent_rpcs=MOST_CALLS)
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise UsageError(f"cannot listen on {address} for gRPC", hint="the port may be taken: choose another")
    return server, port


def _bytes(kind: str, **fields: Any) -> bytes:
    data: bytes = messages.MESSAGES[kind](**fields).SerializeToString()
    return data


def _only(metadata: Iterable[tuple[str, str | bytes]], *names: str) -> list[str | None]:
    """Return the values of `names` in the metadata of a call, in order; None for those that are absent.

    Raises:
        Refused: One comes twice.
    """
    found: dict[str, str] = {}
    for name, value in metadata:
        if name in names:
            if name in found or isinstance(value, bytes):
                raise bad_request(f"metadata {name} comes twice, or is not text")
            found[name] = value
    return [found.get(name) for name in names]


def _details(error: Refused) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


async def _abort(context: Any, error: Refused, *metadata: tuple[str, str | bytes]) -> None:
    """End a call without an answer. Always raises."""
    wait = () if error.retry_after_s is None else ((PUSHBACK, str(1000 * error.retry_after_s)),)
    code = grpc.StatusCode[GRPC_CODES[error.status]]
    await context.abort(code, _details(error), (*metadata, *wait))
