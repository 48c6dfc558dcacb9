"""The console as an application: who may, forms that are ours, headers that keep browsers from doing anything else.

1. Nobody is let in whose session, and the credential behind it, are not good now.     401, with the form to log in
2. What another site sent is refused.                                                  403
3. An address that is none of the table's does not exist.                              404
4. A role that the table does not name may not.                                        403
5. A form is bounded, and holds the token of its browser's session.                    413, 415, 403
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from intact.crypto import Secret
from intact.errors import IntactError
from intact.guard import Mode, default_modes
from intact.serve import asgi
from intact.serve.asgi import App, Header, Receive, Scope, Send
from intact.serve.console import cookies, forms, login
from intact.serve.console.pages import ROUTES
from intact.serve.console.render import icon, render, style
from intact.serve.console.visit import ALL, HTML, House, Reply, Route, Stream, Visit, post, to
from intact.serve.core import Core
from intact.serve.edge import Area, everybody
from intact.serve.refused import RETRY_AFTER_S, Refused
from intact.serve.state.sessions import Session

LOG: Final = logging.getLogger("intact.serve.console")
PREFIX: Final = "/console/"
MOST_AT_ONCE: Final = 32
THREADS: Final = 4
TRANSPORT: Final = "console"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
TLS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
NEVER_KEPT: Final[Header] = (b"cache-control", b"no-store")
KEPT: Final[Header] = (b"cache-control", b"public, max-age=86400")
STATIC: Final = {
    "/console/style.css": (b"text/css; charset=utf-8", style),
    "/console/icon.svg": (b"image/svg+xml", icon),
}


async def _answered_before(_: Visit) -> Reply:
    raise AssertionError("logging out needs the cookie, which pages do not get")


LEAVING: Final = post(login.LEAVE, ALL, _answered_before, "")


class Console:
    """The ASGI application of all addresses under /console/.

    Args:
        core: Answers requests, of this console's form to try a model too.
        secure: Whether browsers come over TLS, which may end before this server.
        modes: Mode of the guard's checks that have not their default; None where there is no guard.
    """

    def __init__(self, core: Core, *, secure: bool, modes: Mapping[str, Mode] | None) -> None:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="intact-console")
        off: dict[str, Mode] = dict.fromkeys(default_modes(), "off")
        chosen = off if modes is None else {**default_modes(), **modes}
        self._house = House(core=core, pool=pool, modes=chosen)
        self._cookies = cookies.Cookies(secure=secure)
        self._headers = (*HEADERS, TLS_ONLY) if secure else HEADERS
        self._under_way = 0

    def close(self) -> None:
        """Let go of the threads, once what they do is done."""
        self._house.pool.shutdown(wait=True, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._under_way += 1
        try:
            reply = await self._reply(scope, receive)
            if isinstance(reply, Stream):
                await self._pour(reply, send)
            else:
                await self._send(reply, send)
        finally:
            self._under_way -= 1

    async def _reply(self, scope: Scope, receive: Receive) -> Reply | Stream:
        """Return the response, whatever goes wrong."""
        session: Session | None = None
        token = ""
        try:
            if self._under_way > MOST_AT_ONCE:
                raise Refused(503, "too many pages are asked for", retry_after_s=RETRY_AFTER_S)
            if scope["path"] in STATIC and scope["method"] in ("GET", "HEAD"):
                kind, content = STATIC[scope["path"]]
                return Reply(200, content(), ((b"content-type", kind), KEPT))
            secret = self._cookies.read(scope["headers"], "session")
            session = None if secret is None else await self._house.work(self._house.store.sessions.find, secret)
            entering = scope["path"] == login.ADDRESS and scope["method"] == "POST"
            if session is None or secret is None or entering:
                return await self._stranger(scope, receive, secret)
            token = cookies.token_of(secret, "session")
            return await self._visit(scope, receive, session, secret)
        except asgi.Disconnected:
            return Reply(400, b"")
        except IntactError as error:
            principal = None if session is None else session.principal
            refused = self._house.core.refuse(error, TRANSPORT, principal, None)
            return failure(refused, session, token)
        except Exception:  # whatever it is, its text is for the operator alone
            LOG.exception("page failed")
            return failure(Refused(500, "this page failed; the server's log says why"), session, token)

    # ---- nobody is logged in

    async def _stranger(self, scope: Scope, receive: Receive, before: Secret | None) -> Reply:
        """Answer somebody who is not logged in, or does so again: with the form to log in, and with nothing else."""
        if scope["path"] == login.ADDRESS and scope["method"] == "POST":
            refuse_foreign(scope)
            form = await self._form(scope, receive, files=False)
            return await login.enter(self._house, self._cookies, scope, form, before)
        return login.ask(self._cookies, scope)

    # ---- somebody is

    async def _visit(self, scope: Scope, receive: Receive, session: Session, secret: Secret) -> Reply | Stream:
        """Answer somebody who is logged in."""
        method, path = scope["method"], scope["path"]
        if method == "POST":
            refuse_foreign(scope)  # 2
        elif path.rstrip("/") in ("/console", login.ADDRESS):
            return to("/console/models")
        route, parts = find(method, path)  # 3
        if session.principal.role not in route.roles:  # 4
            raise Refused(403, f"not granted: this is not for the role {session.principal.role.value}")
        form = forms.Form()
        if method == "POST":  # 5
            form = await self._form(scope, receive, files=route.files)
            if not cookies.is_token(form.text("token"), secret, "session"):
                raise Refused(403, "form is not of this session", hint="open its page again, and send it from there")
        if route is LEAVING:
            return await login.leave(self._house, self._cookies, secret)
        visit = Visit(
            house=self._house,
            session=session,
            token=cookies.token_of(secret, "session"),
            path=parts,
            query=forms.parse_query(scope["query_string"]),
            form=form,
            here=route.here,
        )
        return await route.answer(visit)

    async def _form(self, scope: Scope, receive: Receive, *, files: bool) -> forms.Form:
        """Return what a form sent, of bounded length."""
        kind, said = asgi.only(scope["headers"], b"content-type", b"content-length")
        limit = forms.LARGEST_UPLOAD + forms.LARGEST_FORM if files else forms.LARGEST_FORM
        self._under_way -= 1  # who sends slowly keeps nobody else out
        try:
            body = await asgi.read(receive, asgi.length(said, "content-length"), limit)
        finally:
            self._under_way += 1
        return await forms.parse_form(scope, (kind or b"").decode("latin-1"), body, files=files)

    # ---- out

    async def _send(self, reply: Reply, send: Send) -> None:
        """Send a whole response."""
        size = (b"content-length", b"%d" % len(reply.body))
        kept = () if any(name == b"cache-control" for name, _ in reply.headers) else (NEVER_KEPT,)
        headers = [*reply.headers, size, *kept, *self._headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _pour(self, stream: Stream, send: Send) -> None:
        """Send a page as it comes to be."""
        headers = [HTML, NEVER_KEPT, (b"x-accel-buffering", b"no"), *self._headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in stream.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def area(console: App) -> Area:
    """Return the console as a part of the server. It lets nobody in who has no session; credentials do not count."""
    return Area(prefix=PREFIX, gate=everybody, app=console, reads=True)


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """Return the route for an address, and the parts of it that its pattern caught.

    Raises:
        Refused: There is none, or none for this method.
    """
    known = False
    for route in (*ROUTES, LEAVING):
        found = route.path.fullmatch(path)
        if found is not None:
            if route.method == ("GET" if method == "HEAD" else method):
                return route, found.groups()
            known = True
    raise Refused(405, "not with this method") if known else Refused(404, "there is nothing at this address")


def refuse_foreign(scope: Scope) -> None:
    """Refuse what a browser says another site sent; the token of the form is asked for besides.

    Raises:
        Refused: It does.
    """
    (site,) = asgi.only(scope["headers"], b"sec-fetch-site")
    if site not in (None, b"same-origin", b"none"):
        raise Refused(403, "form is of another site")


def failure(refused: Refused, session: Session | None, token: str) -> Reply:
    """Return the page that says why there is no other."""
    principal = None if session is None else session.principal
    page = render("failure", principal=principal, token=token, here="", status=refused.status, why=refused)
    more = () if refused.retry_after_s is None else ((b"retry-after", b"%d" % refused.retry_after_s),)
    return Reply(refused.status, page.encode(), (HTML, *more))
