"""OIDC tokens of one issuer: its keys are fetched and remembered, its tokens held against all that they say."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from intact.errors import IntegrityError, UsageError
from intact.ledger import is_subject
from intact.serve.access.fetch import checked_url, get
from intact.serve.errors import StateUnavailable
from intact.serve.state.values import OIDC_PREFIX
from intact.wire import parse

FRESH_S: Final = 300.0
"""Keys are fetched again when they are this old."""
STALE_S: Final = 3600.0
"""Where that fails, they are good for this long."""
AGAIN_S: Final = 10.0
"""The issuer is asked no oftener than this, whatever tokens name."""
LEEWAY_S: Final = 30
MOST_KEYS: Final = 64
LEAST_RSA_BITS: Final = 2048
DISCOVERY: Final = "/.well-known/openid-configuration"
REQUIRED: Final = ("aud", "exp", "iat", "iss", "sub")

FITTING: Final[Mapping[str, tuple[str, str | None]]] = {
    **{f"{kind}{bits}": ("RSA", None) for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithms that may be taken, and the type and curve of their keys. None of them is symmetric."""

_BAD_TOKEN: Final = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """Whose tokens are taken.

    Args:
        issuer: URL of the issuer, exactly as its tokens say; https, or http on this machine.
        audience: What tokens must be meant for.
        algorithms: Signature algorithms that are taken.
        ca_file: Authorities for the issuer's TLS certificate; the system's where it is None.

    Raises:
        UsageError: The issuer is no such URL, the audience is empty, or an algorithm is not known or symmetric.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    ca_file: str | None = None

    def __post_init__(self) -> None:
        checked_url(self.issuer, "OIDC issuer")
        if not self.audience:
            raise UsageError("OIDC audience is empty", hint="give what tokens for this server name as their audience")
        unknown = [name for name in self.algorithms if name not in FITTING]
        if unknown or not self.algorithms:
            raise UsageError(
                f"OIDC algorithms are {', '.join(self.algorithms)!a:.80}", hint=f"choose among {', '.join(FITTING)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a good token says.

    Args:
        subject: Whom it names.
        expires: When it ends, in seconds since 1970.
    """

    subject: str
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The issuer's keys by id and algorithm, and when they were fetched."""

    keys: Mapping[tuple[str, str], jwt.PyJWK]
    fetched: float


class Oidc:
    """Verifies tokens; may be called from any thread, and waits for the issuer where it must.

    Args:
        settings: Whose tokens.
        clock: Returns seconds since some moment.

    Raises:
        UsageError: The authorities' file cannot be read.
    """

    def __init__(self, settings: OidcSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._known: KeySet | None = None
        self._tried: float | None = None
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise UsageError(f"cannot read authorities {settings.ca_file!a}: {error.strerror}") from None

    def verify(self, token: str) -> Claims | None:
        """Return what a token says, None where it is not good; why is not told.

        1. Its header names an algorithm that is taken, and nothing that must be understood besides.
        2. The issuer has a key of that id which fits the algorithm.
        3. The signature is by that key; issuer, audience and times are right; all required claims are there.
        4. Its subject can be one.

        Raises:
            StateUnavailable: The issuer's keys cannot be had.
        """
        try:
            header = jwt.get_unverified_header(token)  # 1
            algorithm, kid = header.get("alg"), header.get("kid", "")
            if algorithm not in self._settings.algorithms or "crit" in header or not isinstance(kid, str):
                return None
        except _BAD_TOKEN:
            return None
        key = self._key(kid, algorithm)  # 2
        if key is None:
            return None
        try:
            claims = jwt.decode(  # 3
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": list(REQUIRED)},
            )
            subject, expires = claims["sub"], float(claims["exp"]) + LEEWAY_S
        except _BAD_TOKEN:
            return None
        if not isinstance(subject, str) or not subject.strip() == subject != "":  # 4
            return None
        return Claims(subject=subject, expires=expires) if is_subject(f"{OIDC_PREFIX}{subject}") else None

    def _key(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """Return the issuer's key; where it is unknown or old, the issuer is asked, though not too often."""
        known = self._known
        if known is not None and self._clock() - known.fetched < FRESH_S and (kid, algorithm) in known.keys:
            return known.keys[kid, algorithm]
        with self._lock:
            known = self._refreshed(kid, algorithm)
        return known.keys.get((kid, algorithm))

    def _refreshed(self, kid: str, algorithm: str) -> KeySet:
        """Return keys as new as they must be; the lock is held.

        Raises:
            StateUnavailable: There are none that are young enough.
        """
        known, now = self._known, self._clock()
        fresh = known is not None and now - known.fetched < FRESH_S
        if known is not None and fresh and (kid, algorithm) in known.keys:
            return known  # another thread fetched them
        failure = StateUnavailable(
            f"OIDC issuer {self._settings.issuer!a:.120} could not be reached", hint="see that it runs"
        )
        if self._tried is None or now - self._tried >= AGAIN_S:
            self._tried = now
            try:
                self._known = known = KeySet(keys=self._fetch(), fetched=now)
            except StateUnavailable as error:
                failure = error
        if known is None or now - known.fetched >= STALE_S:
            raise failure
        return known

    def _fetch(self) -> Mapping[tuple[str, str], jwt.PyJWK]:
        """Ask the issuer where its keys are, and fetch them."""
        issuer = self._settings.issuer
        place = _json(get(issuer.rstrip("/") + DISCOVERY, self._tls, "OIDC discovery"))
        uri = place.get("jwks_uri")
        if place.get("issuer") != issuer or not isinstance(uri, str):
            raise StateUnavailable(f"OIDC discovery of {issuer!a:.120} is of another issuer, or names no keys")
        try:
            found = _json(get(uri, self._tls, "OIDC keys")).get("keys")
        except UsageError as error:
            raise StateUnavailable(error.message) from None
        if not isinstance(found, list) or len(found) > MOST_KEYS:
            raise StateUnavailable(f"OIDC issuer {issuer!a:.120} has no list of keys, or more than {MOST_KEYS}")
        keys: dict[tuple[str, str], jwt.PyJWK] = {}
        for each in found:
            for algorithm in self._settings.algorithms:
                key = _usable(each, algorithm)
                if key is not None:
                    keys.setdefault((each.get("kid", ""), algorithm), key)
        return keys


def _usable(jwk: Any, algorithm: str) -> jwt.PyJWK | None:
    """Return a key of the issuer, for one algorithm; None where it is not for that, or is no good."""
    kind, curve = FITTING[algorithm]
    if not isinstance(jwk, dict) or jwk.get("kty") != kind or jwk.get("crv") != curve or "d" in jwk:
        return None
    if (
        jwk.get("use", "sig") != "sig"
        or jwk.get("alg", algorithm) != algorithm
        or not isinstance(jwk.get("kid", ""), str)
    ):
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm)
        return key if kind != "RSA" or key.key.key_size >= LEAST_RSA_BITS else None
    except _BAD_TOKEN:
        return None


def _json(content: bytes) -> Mapping[str, Any]:
    """Return a document of the issuer."""
    try:
        found = parse(content, where="answer of the OIDC issuer")
    except IntegrityError as error:
        raise StateUnavailable(error.message) from None
    return found if isinstance(found, dict) else {}
