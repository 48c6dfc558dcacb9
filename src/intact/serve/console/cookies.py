"""What a browser keeps: the secret of its session, and one for the form to log in. Forms are known by them again."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from intact.crypto import Secret
from intact.serve.asgi import Header

Name: TypeAlias = Literal["session", "login"]

SECRET_BYTES: Final = 32
LOGIN_S: Final = 3600
"""How long a form to log in may lie open."""
SESSION_S: Final = 12 * 3600
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """Writes and reads cookies that no script, no other site and, over TLS, no other host under the name can touch.

    Args:
        secure: Whether browsers come over TLS.
    """

    secure: bool

    def name(self, of: Name) -> str:
        """Return what a cookie is called; a browser takes "__Host-" from this very host over TLS only."""
        return f"__Host-intact-{of}" if self.secure else f"intact-{of}"

    def read(self, headers: Iterable[Header], of: Name) -> Secret | None:
        """Return the secret in a request; None where there is none, or two, so that it is unclear whose they are."""
        name, found = self.name(of), []
        for key, value in headers:
            if key == b"cookie":
                pairs = (part.strip().partition("=") for part in value.decode("latin-1").split(";"))
                found += [text for label, _, text in pairs if label == name]
        if len(found) != 1 or _VALUE.fullmatch(found[0]) is None:
            return None
        try:
            data = base64.urlsafe_b64decode(f"{found[0]}=")
        except binascii.Error:
            return None
        return Secret(data) if len(data) == SECRET_BYTES else None

    def keep(self, of: Name, secret: Secret) -> Header:
        """Return the header that has a browser keep a secret."""
        value = base64.urlsafe_b64encode(secret.value).decode().rstrip("=")
        return self._header(of, value, SESSION_S if of == "session" else LOGIN_S)

    def drop(self, of: Name) -> Header:
        """Return the header that has a browser forget one."""
        return self._header(of, "", 0)

    def _header(self, of: Name, value: str, seconds: int) -> Header:
        where = "Path=/; Secure" if self.secure else "Path=/console"
        text = f"{self.name(of)}={value}; {where}; HttpOnly; SameSite=Strict; Max-Age={seconds}"
        return b"set-cookie", text.encode()


def token_of(secret: Secret, of: Name) -> str:
    """Return what every form of a browser holds: who does not have the cookie cannot make it."""
    digest = hmac.digest(secret.value, b"intact console form\0" + of.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_token(text: str, secret: Secret, of: Name) -> bool:
    """Whether a form came from a page of ours for this browser; compared in constant time."""
    return hmac.compare_digest(text.encode(), token_of(secret, of).encode())
