"""From the Authorization header to who asks: an API key or an OIDC token, and nothing else."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Final

from intact.serve.access.oidc import Oidc
from intact.serve.access.remembered import Remembered
from intact.serve.errors import CredentialRefused
from intact.serve.state import Principal, Store
from intact.serve.state.values import OIDC_PREFIX, TOKEN_PREFIX

LIMIT_HEADER: Final = 8192
KEY_START: Final = "intact_"
ID_DIGITS: Final = 32

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]+)")


class Authenticator:
    """Tells who asks. Belongs to one event loop.

    Args:
        store: Where keys and roles are.
        oidc: The issuer whose tokens are taken; None for keys only.
        clock: Returns seconds since 1970.

    Raises:
        UsageError: The pepper is not the one that the keys are stored under.
        StateUnavailable: The database cannot be reached.
    """

    def __init__(self, store: Store, oidc: Oidc | None = None, *, clock: Callable[[], float] = time.time) -> None:
        store.check_pepper()
        self._store = store
        self._oidc = oidc
        self._clock = clock
        self._keys: Remembered[bytes, Principal | None] = Remembered("keys")
        self._tokens: Remembered[bytes, Principal | None] = Remembered("tokens")  # a slow issuer stops no keys

    async def identify(self, authorization: str | None) -> Principal:
        """Return who asks, as of half a second ago or later.

        Args:
            authorization: The header (REST) or metadata value (gRPC) "authorization"; None where there is none, and
                where there are several.

        Raises:
            CredentialRefused: There is none, or it is not good. 401.
            StateUnavailable: The database or the issuer cannot be reached. 503.
            Busy: Too many unknown credentials are being looked up. 503.
        """
        if authorization is None or len(authorization) > LIMIT_HEADER:
            raise _refused()
        found = _BEARER.fullmatch(authorization)
        if found is None:
            raise _refused()
        text = found[1]
        place = hashlib.sha256(text.encode()).digest()  # the text itself is kept nowhere
        if text.startswith(KEY_START):
            principal = await self._keys.get(place, lambda: self._store.find_key(text))
        elif self._oidc is not None:
            principal = await self._tokens.get(place, lambda: self._by_token(text, place))
        else:
            principal = None
        if principal is None or (principal.expires is not None and self._clock() > principal.expires):
            raise _refused()
        return principal

    def close(self) -> None:
        """End the threads that look up."""
        self._keys.close()
        self._tokens.close()

    def _by_token(self, text: str, place: bytes) -> Principal | None:
        """Return whom a token names; None where it is not good."""
        assert self._oidc is not None  # asked before
        claims = self._oidc.verify(text)
        if claims is None:
            return None
        subject = f"{OIDC_PREFIX}{claims.subject}"
        return Principal(
            subject=subject,
            role=self._store.role_of(subject),
            credential=f"{TOKEN_PREFIX}{place.hex()[:ID_DIGITS]}",
            expires=claims.expires,
        )


def _refused() -> CredentialRefused:
    """Return the one answer to everything that is not a good credential."""
    return CredentialRefused(
        "no good credential was given", hint="send the header Authorization: Bearer, with an API key or a token"
    )
