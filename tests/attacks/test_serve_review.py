"""What a review of the running servers found: strangers who hold places, memory or files; words read twice."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import numpy as np
import pytest

from intact.crypto import VerifyingKey
from intact.ledger import read_receipt
from intact.ledger.answer import read_answer
from intact.serve.access.remembered import Remembered
from intact.serve.batching import Batcher
from intact.serve.computing import Feeds, Outcome
from intact.serve.core import Core
from intact.serve.errors import Busy
from intact.serve.grpc_server import Service, build
from intact.serve.protocol.grpc_messages import MESSAGES, SERVICE
from intact.serve.refused import Refused
from support.callers import INFER, METHOD, Rest, Rpc
from support.issuer import AUDIENCE, issuer
from support.serving import INPUTS, Server, Site, rows, serving

PATIENCE_S = 1.0
PLACES = 128
"""Calls that a server takes at a time."""
FLOOD = 1200


@pytest.fixture(scope="module")
def hasty(site: Site) -> Iterator[Server]:
    """A server with little patience, started where few files may be open; it logs nothing that strangers cause."""
    with serving(site, "--patience", PATIENCE_S) as found:
        yield found
        lines = [json.loads(line) for line in found.errors.read_text().splitlines()]
        assert [line for line in lines if line["level"] != "info"] == []


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    return site.caller("reviewer")


def body() -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "data": [0] * 8}]}).encode()


def chunked(content: bytes, *trailers: bytes) -> bytes:
    return b"".join([b"%x\r\n%b\r\n0\r\n" % (len(content), content), *trailers, b"\r\n"])


def send(server: Server, data: bytes) -> bytes:
    """The first thing that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        return connection.recv(65536)


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: a", *lines, "", ""]).encode()


def memory_mb(server: Server) -> float:
    """The most that the server's process ever held."""
    (line,) = (
        line for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines() if line[:5] == "VmHWM"
    )
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index"])
def test_a_credential_behind_the_body_is_none(hasty: Server, key: str, path: str) -> None:
    trailer = f"authorization: Bearer {key}\r\n".encode()
    told = send(hasty, head(path, "transfer-encoding: chunked") + chunked(body(), trailer))
    assert told.startswith(b"HTTP/1.1 401 ")


def test_a_nonce_behind_the_body_is_none(hasty: Server, key: str) -> None:
    lines = ("transfer-encoding: chunked", f"authorization: Bearer {key}")
    told = send(hasty, head(INFER, *lines) + chunked(body(), b"intact-nonce: \x01\r\n", b"intact-nonce: b\r\n"))
    assert told.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))  # the parser may refuse the first


@pytest.mark.parametrize(
    "part",
    [b"".join(b"a%05d: b\r\n" % number for number in range(6000)), b"a" * 65536, b"0;" + b"x" * 65536],
    ids=["many trailers", "one long trailer", "a long extension"],
)
def test_what_follows_a_body_takes_no_memory(hasty: Server, part: bytes) -> None:
    before, sent = memory_mb(hasty), 0
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        start = b"" if part.startswith(b"0;") else b"0\r\n"
        connection.sendall(head(INFER, "transfer-encoding: chunked") + start)
        with contextlib.suppress(ConnectionError):
            while sent < 100 * 2**20:
                connection.sendall(part)
                sent += len(part)
    assert sent < 20 * 2**20
    assert memory_mb(hasty) < before + 50


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "chunked, chunked", "x"])
def test_a_body_that_two_readers_could_read_in_two_ways(hasty: Server, key: str, coding: str) -> None:
    lines = (f"transfer-encoding: {coding}", f"authorization: Bearer {key}")
    told = send(hasty, head(INFER, *lines) + chunked(body()))
    assert told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 415 "))


# gRPC


@contextlib.contextmanager
def waiting(server: Server, *metadata: tuple[str, str]) -> Iterator[list[Any]]:
    """Calls on every place, that never send their message."""
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = channel.stream_unary(METHOD)
        calls = [stub.future(silent(), metadata=metadata) for _ in range(PLACES)]
        time.sleep(0.5)
        try:
            yield calls
        finally:
            over.set()


def test_a_stranger_holds_no_place(hasty: Server, key: str) -> None:
    with waiting(hasty) as calls:
        assert Rpc(hasty.grpc, key, rows()).ask().status == 200
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}


def test_who_sends_no_message_holds_a_place_for_a_while_only(site: Site, hasty: Server, key: str) -> None:
    with waiting(hasty, ("authorization", f"Bearer {site.key('idler')}")) as calls:
        told = {call.code() for call in calls}
        assert told <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert Rpc(hasty.grpc, key, rows()).ask().status == 200


def test_a_call_without_a_message(hasty: Server, key: str) -> None:
    with grpc.insecure_channel(hasty.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(METHOD)(iter(()), metadata=[("authorization", f"Bearer {key}")], timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


SIZE = 4 * 2**20
LARGE = {
    "axes": field(3, b"\1" * SIZE),
    "axes one by one": b"\x18\1" * (SIZE // 2),
    "parameters": b"".join(field(4, field(1, b"%x" % number)) for number in range(SIZE // 10)),
    "empty contents": b"\x2a\0" * (SIZE // 2),
    "empty texts": field(5, b"\x42\0" * (SIZE // 2)),
    "typed values": field(5, field(6, bytes(SIZE * 3))),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_message_that_grows_when_it_is_read(hasty: Server, key: str, what: str) -> None:
    data = field(1, b"tiny") + field(5, field(1, b"x") + field(2, b"FP32") + LARGE[what])
    before = memory_mb(hasty)
    with grpc.insecure_channel(hasty.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        stub = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            stub(data, metadata=[("authorization", f"Bearer {key}")], timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert any(word in (caught.value.details() or "") for word in ("fields", "axes", "typed values"))
    assert memory_mb(hasty) < before + 150


def test_the_most_inputs_that_are_allowed_are_read(hasty: Server, key: str) -> None:
    item = {"datatype": "FP32", "shape": [1, 300], "contents": {"fp32_contents": [1.0] * 300}}
    message = MESSAGES["ModelInferRequest"](
        model_name="tiny", inputs=[{"name": f"x{number}", **item} for number in range(64)]
    )
    with grpc.insecure_channel(hasty.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(
            message.SerializeToString(), metadata=[("authorization", f"Bearer {key}")], timeout=20
        )
    assert "the model wants ['x']" in (caught.value.details() or "")


def test_what_failed_is_not_told() -> None:
    class Broken:
        def refuse(self, error: Refused, *_: Any) -> Refused:
            return error

        async def identify(self, _: str | None) -> None:
            raise ValueError("a secret")

    async def run() -> set[tuple[Any, str | None]]:
        server, port = build(Service(cast("Core", Broken()), largest=100), "127.0.0.1:0", None, largest=100)
        await server.start()
        told = set()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in ("ModelInfer", "ServerLive", "Nothing"):
                try:
                    await channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=20)
                except grpc.aio.AioRpcError as error:
                    told.add((error.code(), error.details()))
        await server.stop(0)
        return told

    assert asyncio.run(run()) == {(grpc.StatusCode.UNAVAILABLE, "the server cannot answer now")}


# Receipts


@pytest.mark.parametrize(("shows", "told"), [("label", False), ("top-1", False), ("rounded-1", False), ("full", True)])
def test_a_receipt_tells_no_scores_of_what_is_not_shown(site: Site, hasty: Server, shows: str, told: bool) -> None:
    client = Rest(hasty.http, site.caller(f"peeper-{shows}", shows=shows), rows())
    answer = client.ask()
    client.close()
    assert answer.receipt is not None
    verifier = VerifyingKey.from_pem((site.keys / "signing.pub").read_bytes())
    said = read_answer(read_receipt(answer.receipt, [verifier]).event).guard
    assert said
    assert any(each.score is not None for each in said) is told


def test_a_receipt_of_a_refusal_tells_no_scores(site: Site, hasty: Server) -> None:
    client = Rest(hasty.http, site.caller("prober"), rows() * np.float32("inf"))
    answer = client.ask()
    client.close()
    assert (answer.status, answer.receipt is None) == (422, False)
    verifier = VerifyingKey.from_pem((site.keys / "signing.pub").read_bytes())
    said = read_answer(read_receipt(answer.receipt or b"", [verifier]).event).guard
    assert {each.score for each in said} == {None}


# Other callers


def test_slow_large_bodies_keep_no_small_ones_out(site: Site, hasty: Server, key: str) -> None:
    lines = (f"authorization: Bearer {site.caller('slow')}", f"content-length: {16 * 2**20}")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port), timeout=20))
            connection.sendall(head(INFER, *lines) + b"{")
        time.sleep(0.5)
        client = Rest(hasty.http, key, rows())
        assert client.ask().status == 200
        client.close()


def test_a_batch_that_fails_strangely_stops_no_model() -> None:
    class Odd:
        def alone(self, feeds: Feeds) -> Outcome:
            time.sleep(0.05)
            return Outcome(feeds)

        def together(self, many: Sequence[Feeds]) -> list[Outcome]:
            raise MemoryError

    async def run() -> list[Outcome]:
        batcher = Batcher(Odd(), stacks=True)
        try:
            asked = [batcher.compute({"x": np.ones((1, 2), np.float32)}) for _ in range(5)]
            return await asyncio.wait_for(asyncio.gather(*asked), 20)
        finally:
            batcher.close()

    assert len(asyncio.run(run())) == 5


def test_a_flood_of_guessed_keys_keeps_no_known_one_out() -> None:
    async def run() -> None:
        known: Remembered[int, str | None] = Remembered("test", remembered_s=0)
        go = threading.Event()
        assert await known.get(-1, lambda: "alice") == "alice"
        guesses = [asyncio.ensure_future(known.get(number, lambda: go.wait(20) and None)) for number in range(256)]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy):
            await known.get(-2, lambda: "bob")
        again = asyncio.ensure_future(known.get(-1, lambda: "alice"))
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.wait_for(again, 20) == "alice"
        await asyncio.gather(*guesses)
        known.close()

    asyncio.run(run())


# Connections


@pytest.fixture
def many_files() -> Iterator[None]:
    """May this process have many files open; skips where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * FLOOD:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * FLOOD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def narrow(site: Site) -> Iterator[Server]:
    """A server that is started with the usual soft limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with serving(site, "--patience", 30) as found:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            yield found
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("other", ["rest", "grpc"])
def test_connections_of_one_server_take_none_of_the_other(narrow: Server, key: str, other: str) -> None:
    port = int(narrow.grpc.rpartition(":")[2]) if other == "rest" else narrow.port
    with contextlib.ExitStack() as stack:
        for _ in range(FLOOD):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        client = Rest(narrow.http, key, rows()) if other == "rest" else Rpc(narrow.grpc, key, rows())
        assert client.ask().status == 200
        client.close()


# Time


def test_a_token_that_ends_while_its_request_is_sent(site: Site, tmp_path: Path) -> None:
    site.grant("oidc:alice")
    with issuer(tmp_path / "issuer") as served:
        served.new_key("one")
        options = ("--oidc-issuer", served.url, "--oidc-audience", AUDIENCE, "--oidc-ca", served.ca_file)
        with serving(site, *options) as server, contextlib.closing(_connection(server)) as connection:
            content = body()
            token = served.token("one", exp=int(time.time()) - 27)  # good for two or three seconds: clocks differ
            connection.putrequest("POST", INFER)
            connection.putheader("authorization", f"Bearer {token}")
            connection.putheader("content-length", str(len(content)))
            connection.endheaders(content[:10])
            time.sleep(4)
            connection.send(content[10:])
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("intact-receipt")) == (401, None)


def _connection(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
