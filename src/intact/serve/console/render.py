"""Templates to pages. Every text is escaped; nothing in a page is a script, or a style of its own."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from intact.serve.console import charts
from intact.serve.state import Role

SHORT: Final = 12
STATUSES: Final = {
    "400": "not what the protocol or the model takes",
    "401": "no good credential",
    "403": "not granted",
    "404": "nothing there",
    "405": "not with this method",
    "408": "too slow",
    "413": "too large",
    "415": "of another kind",
    "429": "too fast",
    "503": "not now",
}
MENU: Final = (
    ("models", "Models", frozenset(Role)),
    ("grants", "Grants", frozenset(Role)),
    ("keys", "Keys", frozenset({Role.ADMIN, Role.AUDITOR})),
    ("refusals", "Refusals", frozenset({Role.ADMIN, Role.AUDITOR})),
    ("alarms", "Alarms", frozenset({Role.ADMIN, Role.AUDITOR})),
    ("log", "Log", frozenset({Role.ADMIN, Role.AUDITOR})),
    ("try", "Try", frozenset({Role.ADMIN, Role.CALLER})),
)
"""Pages in the navigation, what they are called, and who sees them."""


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: Its name.
        values: What it shows; `principal` is who sees it, None where nobody is logged in.
    """
    return _environment().get_template(f"{template}.html.j2").render(**values)


@cache
def style() -> bytes:
    """Return the style sheet."""
    return resources.files("intact.serve.console").joinpath("style.css").read_bytes()


@cache
def icon() -> bytes:
    """Return the picture in the browser's tab."""
    return resources.files("intact.serve.console").joinpath("icon.svg").read_bytes()


def number(value: int) -> str:
    """Write a whole number with its thousands apart."""
    return f"{value:,}"


def short(digest: str) -> str:
    """Write the begin of a digest."""
    return digest[:SHORT]


def when(seconds: float | None) -> Markup | str:
    """Write a time in UTC, for people and machines."""
    if seconds is None:
        return "—"
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M:%S")
    )


def worded(reason: str) -> str:
    """Write why something was refused, in words where only a status was counted."""
    return f"{reason} {STATUSES[reason]}" if reason in STATUSES else reason


def figure(value: float | None) -> str:
    """Write a number with three significant digits."""
    return "—" if value is None else f"{value:.3g}".replace("-", "−")


@cache
def _environment() -> Environment:
    """Return the template engine, everything escaped, nothing undefined let through."""
    environment = Environment(
        loader=PackageLoader("intact.serve.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, short=short, when=when, figure=figure, worded=worded)
    environment.globals.update(
        menu=MENU, part=charts.part, columns=charts.columns, style_version=hashlib.sha256(style()).hexdigest()[:16]
    )
    return environment
