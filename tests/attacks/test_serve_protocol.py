"""A stranger, or a caller, who sends what no client sends: always a refusal or a closed stream, never a failure."""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from intact.serve.protocol.grpc_messages import MESSAGES, SERVICE
from support.serving import INPUTS, Server, Site, rows, serving

PATIENCE_S = 1.0
LARGEST = 2**20
INFER = "/v2/models/tiny/infer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def target(site: Site) -> Iterator[Server]:
    """A server with little patience; whatever was done to it, it answers in the end and logged no failure."""
    with serving(site, "--patience", PATIENCE_S, "--largest-body", LARGEST) as found:
        yield found
        assert infer(found, site.caller("after"), body()).status_code == 200
        lines = [json.loads(line) for line in found.errors.read_text().splitlines()]
        failures = [line for line in lines if line["level"] == "error"]
        assert not failures, json.dumps(failures)


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    return site.caller("attacker")


def tensor(x: np.ndarray[Any, Any], **more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist(), **more}


def body(**more: Any) -> bytes:
    return json.dumps({"inputs": [tensor(rows(), **more)]}).encode()


def binary() -> tuple[bytes, int]:
    x = rows()
    item = {"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [item]}).encode()
    return head + x.tobytes(), len(head)


def infer(server: Server, key: str, content: Any, **headers: str) -> httpx.Response:
    return httpx.post(
        server.http + INFER, content=content, headers={"authorization": f"Bearer {key}", **headers}, timeout=30
    )


def raw(server: Server, *parts: bytes, pause_s: float = 0.0, wait_s: float = 20.0) -> bytes:
    """Send parts to the HTTP port, and return what comes until the server closes the connection or falls silent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait_s) as connection:
        found = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            while part := connection.recv(65536):
                found += part
                if b"\r\n\r\n" in found and b"connection: close" not in found.lower():
                    connection.settimeout(0.5)
        except (ConnectionError, TimeoutError):
            pass
        return found


def status(answer: bytes) -> int | None:
    """The status of what came back; None where the connection was closed without a word."""
    return int(answer.split(b" ", 2)[1]) if answer else None


def head(key: str, *lines: str, path: str = INFER) -> bytes:
    first = [f"POST {path} HTTP/1.1", "host: a", f"authorization: Bearer {key}"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


def is_refused(code: int | None) -> bool:
    return code is None or 400 <= code < 500


@pytest.mark.parametrize("size", [LARGEST + 1, 2**40, 10**14])
def test_a_body_said_to_be_too_large_is_not_read(target: Server, key: str, size: int) -> None:
    assert status(raw(target, head(key, f"content-length: {size}"))) == 413


@pytest.mark.parametrize("size", ["-1", "1e3", "0x10", "9" * 400, "5, 5", ""])
def test_a_length_that_is_none(target: Server, key: str, size: str) -> None:
    assert is_refused(status(raw(target, head(key, f"content-length: {size}"))))


def test_a_body_without_an_end_is_cut_off(target: Server, key: str) -> None:
    part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert is_refused(status(raw(target, head(key, "transfer-encoding: chunked"), *[part] * 40)))


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-5\r\n", b"fffffffffffffffffffff\r\n", b"5;" + b"x" * 10**6])
def test_a_chunk_that_is_none(target: Server, key: str, chunk: bytes) -> None:
    assert is_refused(status(raw(target, head(key, "transfer-encoding: chunked"), chunk)))


def test_strangers_cannot_make_the_server_read_a_body(target: Server) -> None:
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(head("x", f"content-length: {LARGEST}"))
        assert status(connection.recv(65536)) == 401  # before any of it was sent


@pytest.mark.parametrize("start", [b"", b"P", b"POST / HT", b"POST / HTTP/1.1\r\nhost: a\r\nx: "])
def test_slow_headers_are_cut_off(target: Server, start: bytes) -> None:
    began = time.monotonic()
    assert is_refused(status(raw(target, start)))
    assert time.monotonic() - began < 6 * PATIENCE_S


def test_headers_a_byte_at_a_time_are_cut_off(target: Server, key: str) -> None:
    began = time.monotonic()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        for place in range(10**6):
            connection.sendall(head(key)[place : place + 1] or b"x")
            time.sleep(0.05)
    assert time.monotonic() - began < 6 * PATIENCE_S


def test_a_slow_body_is_cut_off_and_stops_nobody(site: Site, target: Server, key: str) -> None:
    began = time.monotonic()
    connections = [socket.create_connection(("127.0.0.1", target.port), timeout=20) for _ in range(50)]
    for connection in connections:
        connection.sendall(head(key, "content-length: 1000") + b"{")
    assert infer(target, site.caller("quick"), body()).status_code == 200
    for connection in connections:
        assert is_refused(status(connection.recv(65536)))
        connection.close()
    assert time.monotonic() - began < 12 * PATIENCE_S


def test_a_client_that_reads_nothing_is_cut_off(target: Server, key: str) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n" + f"authorization: Bearer {key}\r\n\r\n".encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", target.port))
        with pytest.raises(OSError):
            while True:
                connection.sendall(request * 100)


@pytest.mark.parametrize(
    "lines", [["x: " + "y" * 70_000], [f"x-{i}: y" for i in range(200)], ["y: " + "z" * 7000] * 60]
)
def test_headers_too_large_or_too_many(target: Server, key: str, lines: list[str]) -> None:
    assert status(raw(target, head(key, *lines, "content-length: 0"))) in (431, None)


def test_a_path_too_long(target: Server, key: str) -> None:
    assert status(raw(target, head(key, path="/v2/" + "x" * 100_000))) in (431, None)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"])
def test_compressed_bombs_are_not_unpacked(target: Server, key: str, encoding: str) -> None:
    bomb = gzip.compress(bytes(50 * 2**20))
    assert infer(target, key, bomb, **{"content-encoding": encoding}).status_code == 415
    other = httpx.post(
        f"{target.http}/v2/repository/index",
        content=bomb,
        headers={"authorization": f"Bearer {key}", "content-encoding": encoding},
    )
    assert other.status_code == 415


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        PREFACE + bytes(100),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"\0" * 1000,
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\x00y: a\r\n\r\n",
        b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n",
    ],
)
def test_what_is_no_request(target: Server, request_: bytes) -> None:
    assert is_refused(status(raw(target, request_)))


def test_two_lengths_do_not_make_two_requests(target: Server, key: str) -> None:
    hidden = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n"
    for lines in (
        ["content-length: 3", "transfer-encoding: chunked"],
        ["content-length: 3", f"content-length: {len(hidden)}"],
        ["transfer-encoding: chunked", "transfer-encoding: identity"],
        ["transfer-encoding: xchunked"],
    ):
        answer = raw(target, head(key, *lines) + b"0\r\n\r\n" + hidden)
        assert is_refused(status(answer))
        assert answer.count(b"HTTP/1.1 ") <= 1


def test_requests_sent_at_once_are_answered_in_order(site: Site, target: Server, key: str) -> None:
    one = head(key, f"content-length: {len(body())}") + body()
    answer = raw(target, one * 3 + head("x", "content-length: 0", "connection: close"))
    codes = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert codes == [200, 200, 200, 401]


def test_a_client_that_leaves_is_forgotten(site: Site, target: Server, key: str) -> None:
    for part in (head(key, "content-length: 1000") + b"{", head(key, f"content-length: {len(body())}") + body()):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
                connection.sendall(part)
    assert infer(target, site.caller("next"), body()).status_code == 200


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "[" * 3000, '"x"', "null", "{}", "1" * 5000]
)
def test_numbers_that_are_none(target: Server, key: str, value: str) -> None:
    content = body().replace(str(float(rows()[0, 0])).encode(), value.encode(), 1)
    assert is_refused(infer(target, key, content).status_code)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bytes_that_are_no_finite_number(target: Server, key: str, value: float) -> None:
    content, length = binary()
    changed = content[:-4] + np.float32(value).tobytes()
    answer = infer(target, key, changed, **{"inference-header-content-length": str(length)})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "shape",
    [[2**62, 4], [-1, INPUTS], [0, INPUTS], [1] * 70, [2**40], [1.5, 8], ["1", "8"], [[1], [8]], [10**30, 1], [], None],
)
def test_shapes_that_are_none(target: Server, key: str, shape: Any) -> None:
    assert infer(target, key, body(shape=shape)).status_code == 400


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"inputs":' * 100_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b'{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32","data":[' + b"0," * 500_000 + b"0]}]}",
        b'{"inputs":[' + b'{"name":"x"},' * 70_000 + b"{}]}",
        b'{"' + b"x" * 1_000_000 + b'":1}',
        b"\xff\xfe" + body().decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + body(),
    ],
    ids=range(8),
)
def test_json_that_would_take_much_memory(target: Server, key: str, content: bytes) -> None:
    assert is_refused(infer(target, key, content).status_code)


def test_rows_beyond_the_limit(target: Server, key: str) -> None:
    content = json.dumps({"inputs": [tensor(rows(1025))]}).encode()
    assert infer(target, key, content).status_code == 400


def test_any_change_of_a_request_is_answered_or_refused(target: Server, key: str) -> None:
    generator = random.Random(5)
    content, length = binary()
    with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
        for _ in range(400):
            changed = bytearray(content)
            for _ in range(generator.randint(1, 4)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            cut = bytes(changed[: generator.choice([len(changed), generator.randrange(len(changed) + 1)])])
            said = str(generator.choice([length, length, length - 1, length + 1, 0, len(cut), 10**9]))
            answer = client.post(target.http + INFER, content=cut, headers={"inference-header-content-length": said})
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models//infer",
        "/v2/models/a/b/c/infer",
        "/v2/models/%2e%2e/infer",
        "/v2/models/tiny%2Fversions%2F1/infer",
        "/v2/models/tiny/versions//infer",
        "//v2/models/tiny/infer",
    ],
)
def test_addresses_that_are_none(target: Server, key: str, path: str) -> None:
    assert is_refused(status(raw(target, head(key, f"content-length: {len(body())}", path=path) + body())))


# gRPC


def call(server: Server, method: str, data: bytes, key: str, **options: Any) -> str:
    """The name of the status."""
    with grpc.insecure_channel(server.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        try:
            stub = channel.unary_unary(f"/{SERVICE}/{method}")
            stub(data, metadata=[("authorization", f"Bearer {key}")], timeout=20, **options)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


REFUSALS = ("INVALID_ARGUMENT", "PERMISSION_DENIED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED")


def message() -> bytes:
    item = {"name": "x", "datatype": "FP32", "shape": [1, INPUTS]}
    data: bytes = MESSAGES["ModelInferRequest"](
        model_name="tiny", inputs=[item], raw_input_contents=[rows().tobytes()]
    ).SerializeToString()
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 100,
        b"\x2a\xff\xff\xff\xff\x0f",
        b"\x2a\x00" * 300_000,
        b"\x0a\x04tiny" + b"\x3a\x00" * 1000,
        b"\x0b" * 50,
    ],
)
def test_malformed_messages(target: Server, key: str, data: bytes) -> None:
    assert call(target, "ModelInfer", data, key) in REFUSALS


def test_a_message_too_large(target: Server, key: str) -> None:
    assert call(target, "ModelInfer", bytes(LARGEST + 1), key) == "RESOURCE_EXHAUSTED"


def test_a_compressed_message_is_not_unpacked(target: Server, key: str) -> None:
    bomb = MESSAGES["ModelInferRequest"](model_name="tiny", raw_input_contents=[bytes(900_000)]).SerializeToString()
    told = call(target, "ModelInfer", bomb, key, compression=grpc.Compression.Gzip)
    assert told in ("UNIMPLEMENTED", "INTERNAL", "INVALID_ARGUMENT")


def test_any_change_of_a_message_is_answered_or_refused(target: Server, key: str) -> None:
    generator = random.Random(6)
    with grpc.insecure_channel(target.grpc) as channel:
        stub = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for _ in range(300):
            changed = bytearray(message())
            for _ in range(generator.randint(1, 4)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            try:
                stub(bytes(changed), metadata=[("authorization", f"Bearer {key}")], timeout=20)
            except grpc.RpcError as error:
                assert error.code().name in REFUSALS, error.details()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE,
        PREFACE + bytes(500),
        PREFACE + b"\xff" * 500,
        PREFACE + struct.pack(">I", 2**24 - 1)[1:] + b"\0\0\0\0\0\1" + bytes(100),
        PREFACE + b"\0\0\0\4\0\0\0\0\0" + (b"\0\0\4\3\0\0\0\0\1\0\0\0\x08") * 5000,
    ],
    ids=range(7),
)
def test_what_is_no_http2(site: Site, target: Server, start: bytes) -> None:
    host, _, port = target.grpc.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(start)
            connection.settimeout(0.5)
            while connection.recv(65536):
                pass
        except OSError:
            pass
        assert call(target, "ModelInfer", message(), site.caller("after")) == "OK"


def test_many_callers_at_once_are_answered_or_told_to_come_back(site: Site, target: Server) -> None:
    key, codes = site.caller("many"), []

    def ask() -> None:
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            codes.extend(client.post(target.http + INFER, content=body()).status_code for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(codes) == 400
    assert set(codes) <= {200, 503}
    assert codes.count(200) > 100
