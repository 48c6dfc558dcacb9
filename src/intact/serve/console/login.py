"""Logging in with an API key or a token, and out."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

from intact.crypto import Secret
from intact.errors import IntactError
from intact.serve.asgi import Scope
from intact.serve.console import cookies
from intact.serve.console.cookies import Cookies
from intact.serve.console.forms import Form
from intact.serve.console.render import render
from intact.serve.console.visit import HTML, House, Reply, to
from intact.serve.core import Core
from intact.serve.errors import CredentialRefused, TooFast
from intact.serve.refused import Refused

ADDRESS: Final = "/console/login"
LEAVE: Final = "/console/logout"
RATE: Final = "60/minute"
"""Log-ins that one address may try; tries beyond are not looked at."""
_NEXT: Final = re.compile(r"/console/[A-Za-z0-9/._-]{0,200}(\?[A-Za-z0-9/._=&%+-]{0,500})?")


def ask(known: Cookies, scope: Scope, *, problem: str = "", status: int = 401) -> Reply:
    """Return the form to log in; it goes on to the page that was asked for."""
    secret = known.read(scope["headers"], "login") or Secret.random(cookies.SECRET_BYTES)
    wanted = scope["path"]
    if scope["query_string"]:
        wanted += f"?{scope['query_string'].decode('latin-1')}"
    return _form(known, secret, wanted, problem, status)


def _form(known: Cookies, secret: Secret, wanted: str, problem: str, status: int, *more: tuple[bytes, bytes]) -> Reply:
    page = render(
        "login",
        principal=None,
        token=cookies.token_of(secret, "login"),
        here="",
        after=checked_next(wanted),
        problem=problem,
    )
    challenge = (b"www-authenticate", b'Bearer realm="intact"')
    headers = (HTML, known.keep("login", secret), *more)
    return Reply(status, page.encode(), (*headers, challenge) if status == 401 else headers)


async def enter(house: House, known: Cookies, scope: Scope, form: Form, before: Secret | None) -> Reply:
    """Log somebody in: a fresh session, whatever the browser had before.

    Args:
        house: What all pages share.
        known: Cookies.
        scope: The request.
        form: What was filled in.
        before: Secret of a session the browser had, which ends.

    Raises:
        Refused: The form is none of this browser.
        StateUnavailable: The state cannot be reached.
    """
    secret = known.read(scope["headers"], "login")
    if secret is None or not cookies.is_token(form.text("token"), secret, "login"):
        return ask(known, {**scope, "path": "", "query_string": b""}, problem="Please try once more.", status=403)
    after = checked_next(form.text("next"))
    try:
        await house.core.parts.limiter.count(f"login-{_address(scope)}", RATE)
        principal = await house.core.identify(f"Bearer {form.text('credential')}")
    except CredentialRefused as error:
        _count(house.core, error)
        return _form(known, secret, after, "This is no key or token that is good here.", 401)
    except TooFast as error:
        wait = _count(house.core, error).retry_after_s
        told = f"Too many tries. Wait {wait} seconds."
        return _form(known, secret, after, told, 429, (b"retry-after", str(wait).encode()))
    if before is not None:
        await house.work(house.store.sessions.end, before)
    session = await house.work(house.store.sessions.begin, principal)
    return to(after, known.keep("session", session), known.drop("login"))


async def leave(house: House, known: Cookies, secret: Secret) -> Reply:
    """Log out: the session ends on every replica."""
    await house.work(house.store.sessions.end, secret)
    return to(ADDRESS, known.drop("session"))


def checked_next(wanted: str) -> str:
    """Return the page to go on to: one of ours, whatever was asked for."""
    fine = _NEXT.fullmatch(wanted) is not None and not wanted.startswith((ADDRESS, LEAVE)) and ".." not in wanted
    return wanted if fine else "/console/models"


def _count(core: Core, error: IntactError) -> Refused:
    return core.refuse(error, "console", None, None)


def _address(scope: Scope) -> str:
    """Return whose tries are counted together: an address, or the network of one that has many."""
    client = scope.get("client")
    try:
        found = ip_address(client[0]) if client else None
    except ValueError:
        found = None
    if isinstance(found, IPv6Address):
        return found.exploded[:19]
    return "unknown" if found is None else str(found)
