"""A log, or a witness, on a server: bounded in time and size, no redirection followed, no proxy asked."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, urlsplit

from intact.crypto import Secret
from intact.errors import AccessError, UsageError

TIMEOUT_S: Final = 30.0
"""Longest that one answer may take, from the first byte to the last."""
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
ASK: Final = {"Accept-Encoding": "identity", "User-Agent": "intact"}
DENIED: Final = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is.

    Args:
        secure: Whether it speaks TLS.
        host: Its name or address.
        port: Its port; None for the usual one.
        prefix: What paths begin with, without a slash at the end.
    """

    secure: bool
    host: str
    port: int | None
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an http or https URL.

        Raises:
            UsageError: It is none, or holds a password, a query or a fragment.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain or not url.isprintable():
            raise UsageError("address of the log is no URL", hint="give one such as https://models.example.com/log")
        prefix = quote(parts.path.rstrip("/"), safe="/%")
        return cls(secure=parts.scheme == "https", host=parts.hostname, port=port, prefix=prefix)

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read what is sent there."""
        return self.secure or self.host in LOOPBACK

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.secure}://{host}{'' if self.port is None else f':{self.port}'}{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a server answered.

    Args:
        status: Its status.
        body: Its body, with one byte too many where it is longer than was allowed.
    """

    status: int
    body: bytes


class Server:
    """A connection to a server, opened when it is needed, and again when the server has closed it.

    Args:
        url: Its address.
        key: API key to show; None to show none.
        timeout_s: Longest that one answer may take.

    Raises:
        UsageError: The address is none, or a key would be sent to it for all to read.
    """

    def __init__(self, url: str, *, key: Secret | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._address = Address.parse(url)
        if key is not None and not self._address.private:
            raise UsageError("the API key would be sent unencrypted", hint="use an address that begins with https://")
        self._key = key
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        """Return what is at `path`, up to `limit_bytes` of it and one more; None where there is nothing.

        Raises:
            AccessError: The server does not let this caller.
            UsageError: It cannot be reached, does not answer in time, or answers something else.
        """
        told = self._ask("GET", path, None, limit_bytes)
        if told.status == http.client.NOT_FOUND:
            return None
        if told.status != http.client.OK:
            raise self._refusal(told.status)
        return told.body

    def post(self, path: str, body: bytes, limit_bytes: int) -> Told:
        """Send `body` to `path`; return what was answered, whatever it was.

        Raises:
            UsageError: The server cannot be reached, or does not answer in time.
        """
        return self._ask("POST", path, body, limit_bytes)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None, limit_bytes: int) -> Told:
        fresh = self._connection is None
        try:
            return self._once(method, path, body, limit_bytes)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not fresh and isinstance(error, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError):
                return self._ask(method, path, body, limit_bytes)  # it had closed a connection that was left open
            raise UsageError(
                f"{self._address} cannot be asked ({type(error).__name__})",
                hint="check the address and the network; SSL_CERT_FILE names an authority of your own",
            ) from None

    def _once(self, method: str, path: str, body: bytes | None, limit_bytes: int) -> Told:
        if self._connection is None:
            self._connection = self._connect()
            self._connection.connect()
        connection = self._connection
        with _deadline(connection, self._timeout_s):
            connection.request(method, f"{self._address.prefix}/{path}", body=body, headers=self._headers())
            answer = connection.getresponse()
            content = answer.read(limit_bytes + 1)
        if answer.getheader("Content-Encoding", "identity") != "identity":
            raise http.client.HTTPException
        whole = answer.isclosed()
        if not whole and len(content) <= limit_bytes:
            raise http.client.IncompleteRead(content)
        if not whole or answer.will_close:
            self.close()  # the rest is not wanted
        return Told(status=answer.status, body=content)

    def _connect(self) -> http.client.HTTPConnection:
        host, port, timeout_s = self._address.host, self._address.port, self._timeout_s
        if not self._address.secure:
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())

    def _headers(self) -> Mapping[str, str]:
        if self._key is None:
            return ASK
        return {**ASK, "Authorization": f"Bearer {self._key.value.decode()}"}

    def _refusal(self, status: int) -> AccessError | UsageError:
        if status in DENIED:
            return AccessError(
                f"{self._address} does not let this caller read the log",
                hint="set INTACT_API_KEY to a key whose role is auditor or admin",
            )
        return UsageError(f"{self._address} answered with status {status}", hint="check that it is where a log is")


@contextmanager
def _deadline(connection: http.client.HTTPConnection, timeout_s: float) -> Iterator[None]:
    """Cut the connection when the block takes longer: a timeout of the socket bounds each wait, not all together.

    Raises:
        TimeoutError: It did; what was read is not whole, though it may look so.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError
