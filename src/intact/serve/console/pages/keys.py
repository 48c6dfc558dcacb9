"""Keys: who has one. A new one is shown once, on the page that answers its form, and never again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from intact.crypto import Secret
from intact.errors import UsageError
from intact.serve.console.visit import ADMIN, WATCHERS, Reply, Visit, get, post, to
from intact.serve.refused import bad_request
from intact.serve.state import KeyInfo, Role

PAGE: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A key, whether it opens anything now, and whether it is the visitor's."""

    key: KeyInfo
    state: str
    own: bool


async def show(visit: Visit, *, problem: UsageError | None = None) -> Reply:
    """Show keys, without their secrets, which nobody has but their owners."""
    every = visit.query.get("all") == "yes"
    text = visit.query.get("from", "0")
    start = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
    found = await visit.house.work(visit.house.store.keys)
    now = visit.house.core.parts.clock()
    rows = [
        Row(key=key, state=_state(key, now), own=key.id == visit.principal.credential)
        for key in reversed(found)
        if every or key.good(now)
    ]
    revoked = visit.query.get("revoked", "")
    return visit.page(
        "keys",
        status=400 if problem else 200,
        rows=rows[start : start + PAGE],
        total=len(rows),
        start=start,
        page=PAGE,
        hidden=len(found) - len(rows),
        every=every,
        revoked=revoked if _ID.fullmatch(revoked) else "",
        problem=problem,
        filled=visit.form.fields,
        roles=[role.value for role in (Role.CALLER, Role.AUDITOR, Role.ADMIN)],
    )


def _state(key: KeyInfo, now: float) -> str:
    if key.revoked is not None:
        return "revoked"
    return "active" if key.good(now) else "expired"


async def add(visit: Visit) -> Reply:
    """Make a key, and show it this once."""
    form = visit.form
    try:
        try:
            role = Role(form.text("role"))
        except ValueError:
            raise UsageError("no such role", hint="choose one of the list") from None
        ends = form.moment("not_after", "end")
        text, info = await visit.house.work(_add, visit, form.text("subject"), role, ends)
    except UsageError as error:
        return await show(visit, problem=error)
    return visit.page("key", text=text.value.decode(), info=info)


def _add(visit: Visit, subject: str, role: Role, ends: int | None) -> tuple[Secret, KeyInfo]:
    return visit.house.store.add_key(subject, role, not_after=ends, by=visit.principal.subject)


async def revoke(visit: Visit) -> Reply:
    """Revoke a key, for good; sessions that it opened are over at once."""
    key = visit.form.text("key")
    if _ID.fullmatch(key) is None:
        raise bad_request("no key is named")
    await visit.house.work(_revoke, visit, key)
    return to(f"/console/keys?revoked={key}")


def _revoke(visit: Visit, key: str) -> None:
    try:
        visit.house.store.revoke_key(key, by=visit.principal.subject)
    except UsageError as error:
        raise bad_request(error.message) from None


ROUTES: Final = (
    get("/console/keys", WATCHERS, show, "keys"),
    post("/console/keys", ADMIN, add, "keys"),
    post("/console/keys/revoke", ADMIN, revoke, "keys"),
)
