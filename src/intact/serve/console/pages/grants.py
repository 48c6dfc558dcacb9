"""Grants: who may ask which model, how often, and how much of that is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from intact.errors import UsageError
from intact.serve.console.forms import Form
from intact.serve.console.visit import ADMIN, ALL, Reply, Visit, get, post, to
from intact.serve.errors import Reason
from intact.serve.refused import bad_request
from intact.serve.state import Grant, Terms

PAGE: Final = 100
SHOWS: Final = ("full", "label", "top-1", "top-3", "top-5", "rounded-1", "rounded-2", "rounded-3")
PERIODS: Final = ("second", "minute", "hour", "day")
REFRESH: Final = ("2", "10", "60")
_DONE: Final = re.compile(r"(added|revoked)-(\d{1,15})", re.ASCII)
OVER: Final = (Reason.REVOKED, Reason.EXPIRED)
STATES: Final = {
    None: "active",
    Reason.REVOKED: "revoked",
    Reason.EARLY: "not yet",
    Reason.EXPIRED: "expired",
    Reason.USED_UP: "used up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A grant, what its model is called here, and whether it allows anything now."""

    grant: Grant
    model: str
    state: str


async def show(visit: Visit, *, problem: UsageError | None = None) -> Reply:
    """Show grants: all to who watches, their own to a caller."""
    subject, digest = visit.query.get("subject", "").strip(), visit.query.get("model", "")
    every = visit.query.get("all") == "yes"
    start = _start(visit)
    whose = (subject or None) if visit.watches else visit.principal.subject
    found = await visit.house.work(visit.house.store.grants, whose, digest or None)
    now = visit.house.core.parts.clock()
    names = {served.digest: served.name for served in visit.house.core.models.all()}
    rows = [
        Row(grant=grant, model=names.get(grant.model, ""), state=STATES[reason])
        for grant in reversed(found)
        if (reason := grant.refusal(now)) not in OVER or every
    ]
    done = _DONE.fullmatch(visit.query.get("done", ""))
    refresh = visit.query.get("refresh", "")
    return visit.page(
        "grants",
        status=400 if problem else 200,
        rows=rows[start : start + PAGE],
        total=len(rows),
        start=start,
        page=PAGE,
        hidden=len(found) - len(rows),
        models=visit.house.core.models.all() if visit.watches else [],
        subject=subject,
        digest=digest,
        every=every,
        done=done.groups() if done else None,
        problem=problem,
        filled=visit.form.fields,
        shows=SHOWS,
        periods=PERIODS,
        refresh=refresh if refresh in REFRESH else "",
    )


async def add(visit: Visit) -> Reply:
    """Add a grant for a model that is served."""
    form = visit.form
    try:
        digest = form.text("model")
        if digest not in {served.digest for served in visit.house.core.models.all()}:
            raise UsageError("no model of that digest is served here", hint="choose one of the list")
        made = await visit.house.work(_add, visit, form.text("subject"), digest, terms(form))
    except UsageError as error:
        return await show(visit, problem=error)
    return to(f"/console/grants?done=added-{made.id}")


def _add(visit: Visit, subject: str, digest: str, wanted: Terms) -> Grant:
    return visit.house.store.add_grant(subject, digest, wanted, by=visit.principal.subject)


def terms(form: Form) -> Terms:
    """Return what a form allows.

    Raises:
        UsageError: A field is none of what it should be.
    """
    times = form.whole("rate", "rate")
    period = form.text("period")
    if times is not None and period not in PERIODS:
        raise UsageError("the rate has no period", hint=f"choose from {', '.join(PERIODS)}")
    return Terms(
        not_before=form.moment("not_before", "begin"),
        not_after=form.moment("not_after", "end"),
        limit=form.whole("limit", "limit"),
        rate=None if times is None else f"{times}/{period}",
        shows=form.text("shows"),
    )


async def revoke(visit: Visit) -> Reply:
    """Revoke a grant, for good."""
    number = visit.form.whole("grant", "grant")
    if number is None:
        raise bad_request("no grant is named")
    await visit.house.work(_revoke, visit, number)
    return to(f"/console/grants?done=revoked-{number}")


def _revoke(visit: Visit, number: int) -> None:
    try:
        visit.house.store.revoke_grant(number, by=visit.principal.subject)
    except UsageError as error:
        raise bad_request(error.message) from None


def _start(visit: Visit) -> int:
    text = visit.query.get("from", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


ROUTES: Final = (
    get("/console/grants", ALL, show, "grants"),
    post("/console/grants", ADMIN, add, "grants"),
    post("/console/grants/revoke", ADMIN, revoke, "grants"),
)
