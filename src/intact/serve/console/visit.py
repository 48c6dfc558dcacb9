"""One request of somebody who is logged in, what it may be answered with, and the table that says who may make it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar

from intact.serve.asgi import Header
from intact.serve.console.forms import Form
from intact.serve.console.render import render
from intact.serve.core import Core
from intact.serve.state import Principal, Role, Store
from intact.serve.state.sessions import Session

Result = TypeVar("Result")

HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")
ADMIN: Final = frozenset({Role.ADMIN})
WATCHERS: Final = frozenset({Role.ADMIN, Role.AUDITOR})
ASKERS: Final = frozenset({Role.ADMIN, Role.CALLER})
ALL: Final = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (HTML,)


@dataclass(frozen=True, slots=True)
class Stream:
    """A page that is sent as it comes to be."""

    parts: AsyncIterator[bytes]


def to(address: str, *headers: Header) -> Reply:
    """Return a reply that sends the browser to a page of ours."""
    return Reply(303, b"", ((b"location", address.encode()), *headers))


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all pages share.

    Args:
        core: Answers requests.
        pool: Runs what waits for the database.
        modes: Mode of every check of the guard.
        verifying: Held by who verifies the log: one at a time.
    """

    core: Core
    pool: Executor
    modes: Mapping[str, str]
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def store(self) -> Store:
        """The state."""
        return self.core.parts.store

    async def work(self, act: Callable[..., Result], *arguments: Any) -> Result:
        """Return what `act` returns, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, lambda: act(*arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request.

    Args:
        house: What all pages share.
        session: Who is logged in.
        token: What forms of this browser hold.
        path: Parts of the address that the route's pattern caught.
        query: What follows "?".
        form: What was sent.
        here: The route's place in the navigation.
    """

    house: House
    session: Session
    token: str
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=Form)
    here: str = ""

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.session.principal

    @property
    def watches(self) -> bool:
        """Whether they see everything."""
        return self.principal.role in WATCHERS

    def html(self, template: str, **values: Any) -> str:
        """Return a page in words."""
        return render(template, principal=self.principal, token=self.token, here=self.here, **values)

    def page(self, template: str, *, status: int = 200, **values: Any) -> Reply:
        """Return a page."""
        return Reply(status, self.html(template, **values).encode())


Answer: TypeAlias = Callable[[Visit], Awaitable[Reply | Stream]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A page, or what a form does.

    Args:
        method: How it is asked for; HEAD goes with GET.
        path: Pattern of the whole address.
        roles: Who may.
        answer: Answers it.
        here: Its place in the navigation.
        files: Whether its form may hold a file.
    """

    method: Literal["GET", "POST"]
    path: re.Pattern[str]
    roles: frozenset[Role]
    answer: Answer
    here: str
    files: bool = False


def get(path: str, roles: frozenset[Role], answer: Answer, here: str) -> Route:
    """Return the route of a page."""
    return Route(method="GET", path=re.compile(path), roles=roles, answer=answer, here=here)


def post(path: str, roles: frozenset[Role], answer: Answer, here: str, *, files: bool = False) -> Route:
    """Return the route of a form."""
    return Route(method="POST", path=re.compile(path), roles=roles, answer=answer, here=here, files=files)
