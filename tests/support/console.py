"""The console as tests use it: in a real browser, and by hand over HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync"),
)
TOKEN = re.compile(r'name="token" value="([^"]+)"')
ROW = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8]
STRANGE = [100.0, -200.0, 300.0, 0.4, -0.5, 0.6, 0.7, -0.8]


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=[f"--{flag}" for flag in FLAGS])
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Tab:
    """A page of a browser of its own, and what it complained about.

    Args:
        page: Playwright's page.
        http: URL of the server.
        said: What the browser wrote to its console but for statuses that a test wants, and dialogs.
        asked: Addresses that were asked for.
    """

    page: Any
    http: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._hear(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _hear(self, text: str) -> None:
        if not text.startswith("Failed to load resource: the server responded with a status of 4"):
            self.said.append(text)

    def go(self, path: str) -> int:
        """Open a page of the console, and return its status."""
        return int(self.page.goto(f"{self.http}/console/{path}").status)

    def enter(self, key: str, path: str = "") -> None:
        """Log in."""
        self.go(path)
        self.page.get_by_label("API key or token").fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("button", name="Log out").wait_for()

    def heading(self) -> str:
        return str(self.page.locator("h1").inner_text())

    def alert(self) -> str:
        return str(self.page.get_by_role("alert").inner_text())

    def press(self, name: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def ask(self, numbers: list[float], model: str = "tiny/1") -> None:
        """Try a model."""
        self.go("try")
        self.page.get_by_label("Model").select_option(model)
        self.page.get_by_label("Numbers").fill(str(numbers))
        self.press("Ask")


@contextmanager
def tab(browser: Any, http: str, cookies: dict[str, str] | None = None, **options: Any) -> Iterator[Tab]:
    """A tab that must have nothing to complain about when the block ends; with cookies, of who is logged in."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
    context.add_cookies(
        [{"name": name, "value": value, "url": f"{http}/console"} for name, value in (cookies or {}).items()]
    )
    found = Tab(page=context.new_page(), http=http)
    try:
        yield found
        assert found.said == []
        assert all(url.startswith(("data:", f"{http}/console")) for url in found.asked)
    finally:
        context.close()


class Client:
    """Somebody who sends forms by hand; with cookies, somebody who is logged in."""

    def __init__(self, http: str, cookies: dict[str, str] | None = None) -> None:
        self.http = http
        self.client = httpx.Client(base_url=http, timeout=30, cookies=cookies)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: str(cookie.value) for cookie in self.client.cookies.jar}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(f"/console/{path}", **options)

    def post(self, path: str, fields: dict[str, str], **options: Any) -> httpx.Response:
        return self.client.post(f"/console/{path}", data=fields, **options)

    def token(self, path: str = "models") -> str:
        """The token that the forms of a page hold."""
        found = TOKEN.search(self.get(path).text)
        assert found is not None
        return html.unescape(found[1])

    def enter(self, key: str, after: str = "/console/models") -> httpx.Response:
        """Log in."""
        return self.post("login", {"token": self.token("login"), "credential": key, "next": after})

    def send(self, path: str, fields: dict[str, str], **options: Any) -> httpx.Response:
        """Send a form as its page would."""
        return self.post(path, {"token": self.token(), **fields}, **options)


@contextmanager
def entered(http: str, key: str) -> Iterator[Client]:
    """Somebody who is logged in."""
    with Client(http) as client:
        assert client.enter(key).status_code == 303
        yield client
