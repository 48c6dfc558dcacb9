"""Ask a server of this machine how it is: `python -m intact.serve.probe URL KEY_FILE [CERTIFICATES]`.

For supervisors that can run a program, and would show a credential of their own configuration to everybody who may read
that. Nothing but the standard library is loaded. The exit code is 0 where the answer is 200.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 3.0
LIMIT_KEY: Final = 8192


def probe(url: str, key: str, authorities: Path | None = None) -> int:
    """Return the status that the server answers a GET with.

    Args:
        url: What to ask, on this machine.
        key: API key; one without any grant will do for health.
        authorities: PEM file with the server's certificate, or its authorities. Its name is not looked at: certificates
            name the service, and this asks the machine itself.
    """
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=context)
    else:
        connection = HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"Authorization": f"Bearer {key}", "Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


def main(words: Sequence[str]) -> int:
    """Probe as the command line says; return 0 where all is well."""
    if len(words) not in (2, 3):
        print("usage: python -m intact.serve.probe URL KEY_FILE [CERTIFICATES]", file=sys.stderr)
        return 2
    try:
        with Path(words[1]).open(encoding="ascii") as file:
            key = file.read(LIMIT_KEY).strip()
        status = probe(words[0], key, Path(words[2]) if len(words) == 3 else None)
    except (OSError, ValueError, HTTPException) as error:
        print(f"no answer: {type(error).__name__}", file=sys.stderr)
        return 1
    print(f"status {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
