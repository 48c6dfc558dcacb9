"""Getting a small document from an HTTPS server: bounded in size and in time, and followed nowhere else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from intact.errors import UsageError
from intact.serve.errors import StateUnavailable

ALL_S: Final = 5.0
STEP_S: Final = 3.0
LIMIT_BYTES: Final = 256 * 1024
LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def checked_url(url: str, what: str) -> SplitResult:
    """Return a URL in its parts, if a document may be had from there: https, or http on this machine.

    Raises:
        UsageError: It may not.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(f"{what} is no URL: {url!a:.120}") from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
    if not safe or not parts.hostname or parts.username or parts.password or parts.fragment or not url.isascii():
        raise UsageError(f"{what} is {url!a:.120}", hint="give an https:// URL; http:// only for this machine")
    if any(letter <= " " for letter in url):
        raise UsageError(f"{what} has a blank in it: {url!a:.120}")
    return parts


def get(url: str, tls: ssl.SSLContext, what: str) -> bytes:
    """Return the document at `url`.

    Args:
        url: Where it is, as `checked_url` accepts it.
        tls: Whose certificates are accepted.
        what: What it is called in errors.

    Raises:
        StateUnavailable: It cannot be had within five seconds, or is longer than 256 KiB.
    """
    parts = checked_url(url, what)
    try:
        with socket.create_connection(_address(parts), STEP_S) as raw:
            held = raw
            if parts.scheme == "https":
                held = tls.wrap_socket(raw, server_hostname=parts.hostname, do_handshake_on_connect=False)
            with held, _cut_after(ALL_S, held):  # however slowly it drips
                return _ask(parts, held)
    except (OSError, http.client.HTTPException, _Unfit) as error:
        said = str(error) if isinstance(error, _Unfit) else type(error).__name__
        raise StateUnavailable(f"{what} at {url!a:.120} cannot be had: {said}") from None


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    """An answer that is not taken."""


def _address(parts: SplitResult) -> tuple[str, int]:
    """Return host and port of a URL."""
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _ask(parts: SplitResult, held: socket.socket) -> bytes:
    """Ask over a connection, and return what comes back.

    Raises:
        OSError: The connection broke, or the certificate is not accepted.
        HTTPException: The answer is not HTTP.
    """
    if isinstance(held, ssl.SSLSocket):
        held.do_handshake()
    connection = http.client.HTTPConnection(*_address(parts), timeout=STEP_S)
    connection.sock = held
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
    with contextlib.closing(connection), connection.getresponse() as answer:
        if answer.status != http.client.OK:
            raise _Unfit(f"status {answer.status}")
        content = answer.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise _Unfit(f"it is longer than {LIMIT_BYTES} bytes")
    return content


@contextlib.contextmanager
def _cut_after(seconds: float, held: socket.socket) -> Iterator[None]:
    """Break a connection under whoever uses it still after so long.

    Raises:
        _Unfit: It was broken.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(held, socket.SHUT_RDWR)  # below TLS, which another thread is in

    watch = threading.Timer(seconds, cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        if late.is_set():
            raise _Unfit(f"it took more than {seconds:g} seconds")
