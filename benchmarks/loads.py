"""Load on a server over HTTP/1.1 and gRPC, and what it cost the server: processor time of its process tree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

INFER = "/inference.GRPCInferenceService/ModelInfer"
ANSWER_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests, each prepared as bytes and sent over and over.

    Args:
        port: Where the server listens on the loopback.
        request: The whole HTTP request, or the message of the gRPC call.
        metadata: Of the gRPC call; None for HTTP.
    """

    port: int
    request: bytes
    metadata: Sequence[tuple[str, str]] | None = None

    async def send(self, callers: int, count: int) -> list[float]:
        """Send `count` requests by each of `callers` that do not wait for each other; return the times in ms.

        Raises:
            RuntimeError: An answer is not a success.
        """
        send = self._over_http if self.metadata is None else self._over_grpc
        found: list[float] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(send(count, found))
        return found

    async def _over_http(self, count: int, times: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def once() -> None:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"\r\ncontent-length:")
            body = await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(f"{head.decode()}{body[:400]!r}")

        try:
            await _clocked(once, count, times)
        finally:
            writer.close()

    async def _over_grpc(self, count: int, times: list[float]) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            call = channel.unary_unary(INFER)

            async def once() -> None:
                await call(self.request, metadata=self.metadata, timeout=ANSWER_S)

            await _clocked(once, count, times)


async def _clocked(once: Callable[[], Awaitable[None]], count: int, times: list[float]) -> None:
    for _ in range(count):
        start = time.perf_counter()
        await asyncio.wait_for(once(), ANSWER_S)
        times.append((time.perf_counter() - start) * 1e3)


def http_request(path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a POST of `body`, whole."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def cpu_ns(pid: int) -> int:
    """Return the processor time that a process, its children and all their threads took so far."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    threads = [thread for each in tree for thread in Path(f"/proc/{each.pid}/task").glob("*/schedstat")]
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and its children hold."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(each.memory_info().rss for each in tree)
