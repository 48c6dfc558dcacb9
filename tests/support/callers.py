"""Callers that keep asking a server, over HTTP and gRPC, and remember what each was told."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import grpc
import numpy as np

from intact.serve.protocol import grpc_messages

INFER: Final = "/v2/models/tiny/infer"
METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
PATIENCE_S: Final = 30
CODES: Final = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Args:
        status: HTTP status, or what gRPC's stands for; 0 where the connection broke.
        receipt: The envelope; None where there is none.
        text: What was said where there is no answer.
    """

    status: int
    receipt: bytes | None = None
    text: str = ""


class Client(Protocol):
    """One connection of one caller."""

    def ask(self) -> Reply:
        """Ask once."""

    def close(self) -> None:
        """Hang up."""


class Rest:
    """A connection over HTTP/1.1 that asks with tensors as bytes.

    Args:
        url: Of the server.
        key: The caller's.
        x: What to ask.
    """

    def __init__(self, url: str, key: str, x: np.ndarray[Any, Any]) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        tensor = {"name": "x", "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        self._body = head + x.tobytes()
        self._headers = {"authorization": f"Bearer {key}", "inference-header-content-length": str(len(head))}

    def ask(self) -> Reply:
        """Ask once, over a new connection where the last one was closed."""
        try:
            self._connection.request("POST", INFER, self._body, self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            return Reply(status=0, text=f"{type(error).__name__}: {error}")
        receipt = answer.getheader("intact-receipt")
        return Reply(
            status=answer.status,
            receipt=None if receipt is None else b64decode(receipt),
            text="" if answer.status == 200 else body.decode(errors="replace"),
        )

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Rpc:
    """A gRPC channel; arguments as of `Rest`, but for the address, which is host and port."""

    def __init__(self, target: str, key: str, x: np.ndarray[Any, Any]) -> None:
        self._channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.unary_unary(METHOD)
        message = grpc_messages.MESSAGES["ModelInferRequest"](model_name="tiny")
        message.inputs.add(name="x", datatype="FP32", shape=x.shape)
        message.raw_input_contents.append(x.tobytes())
        self._request = message.SerializeToString()
        self._metadata = [("authorization", f"Bearer {key}")]

    def ask(self) -> Reply:
        """Ask once."""
        try:
            _, call = self._call.with_call(self._request, metadata=self._metadata, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return Reply(status=CODES.get(error.code(), 503), text=error.details())
        return Reply(status=200, receipt=dict(call.trailing_metadata())["intact-receipt-bin"])

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


@dataclass(kw_only=True)
class Crowd:
    """Callers who ask until told to stop.

    Args:
        replies: What they were told so far, in order.
        first: Number of the first reply that somebody who waits now has not seen.
    """

    replies: list[Reply] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answers(self, start: int = 0) -> list[bytes]:
        """Return the receipts of all that were answered, from reply number `start` on."""
        return [each.receipt for each in self.replies[start:] if each.receipt is not None]

    def wait(self, count: int, seconds: float = 20.0) -> None:
        """Wait until `count` more are answered."""
        start = len(self.replies)
        until(lambda: len(self.answers(start)) >= count, seconds)

    def keep_asking(self, client: Client) -> None:
        """Ask until told to stop."""
        while not self.stopping.is_set():
            reply = client.ask()
            self.replies.append(reply)
            if reply.status != 200:
                time.sleep(0.05)  # as told by Retry-After, but tests are impatient
        client.close()


@contextlib.contextmanager
def crowd(clients: Sequence[Client]) -> Iterator[Crowd]:
    """Have clients ask all the time until the block ends."""
    found = Crowd()
    threads = [threading.Thread(target=found.keep_asking, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stopping.set()
        for thread in threads:
            thread.join(2 * PATIENCE_S)


def until(told: Callable[[], bool], seconds: float) -> None:
    """Wait for something that must come true within so many seconds."""
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
