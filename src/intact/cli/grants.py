"""`intact grants`: who may use a model, until when, how often, how fast, and how much of it they see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import failures, out, printable, show
from intact.cli.options import Json
from intact.errors import UsageError

if TYPE_CHECKING:
    from intact.serve.state import Grant, Store

NEVER = "-"

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        envvar="INTACT_STATE",
        help="Database of the server, such as sqlite:///FILE; your own by default.",
        show_default=False,
    ),
]
Subject = Annotated[str, typer.Argument(help="Who: as the API key says, or oidc:NAME.", show_default=False)]
Model = Annotated[
    Path | None, typer.Option("--model", help="The artifact, a folder such as model.intact.", show_default=False)
]
Digest = Annotated[
    str | None,
    typer.Option("--digest", help="Digest of the model instead, as `intact inspect` shows it.", show_default=False),
]
NotBefore = Annotated[
    str | None, typer.Option("--not-before", help="Not before this time, such as 2027-01-31T00:00:00Z.")
]
NotAfter = Annotated[str | None, typer.Option("--not-after", help="Not after this time, such as 2027-12-31T23:59:59Z.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="How many requests ever; any number by default.")]
Rate = Annotated[str | None, typer.Option("--rate", help="How many at a time, such as 100/minute; any by default.")]
Shows = Annotated[str, typer.Option("--shows", help="How much of an output: full, label, top-K or rounded-D.")]
Number = Annotated[int, typer.Argument(min=1, help="Number of the grant, as listed.", show_default=False)]
RoleName = Annotated[str, typer.Argument(help="admin, auditor or caller.", show_default=False)]

app = typer.Typer(help="Say who may use a model that is served.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Say who may use a model that is served."""


@app.command("add")
def add(
    subject: Subject,
    model: Model = None,
    digest: Digest = None,
    not_before: NotBefore = None,
    not_after: NotAfter = None,
    limit: Limit = None,
    rate: Rate = None,
    shows: Shows = "full",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Let somebody use one revision of a model. Servers know it within a second."""
    with failures(as_json=as_json):
        from intact.serve.state import Terms

        terms = Terms(not_before=seconds(not_before), not_after=seconds(not_after), limit=limit, rate=rate, shows=shows)
        which = digest_of(model, digest)
        if which is None:
            raise UsageError("no model is named", hint="give --model or --digest")
        with opened(state) as store:
            grant = store.add_grant(subject, which, terms)
    show(_facts(grant), lambda: out.print(f"added {_line(grant)}", markup=False), as_json=as_json)


@app.command("revoke")
def revoke(number: Number, state: State = None, as_json: Json = False) -> None:
    """Take a grant back, for good. Nothing more is answered by it, on any server."""
    with failures(as_json=as_json), opened(state) as store:
        grant = store.revoke_grant(number)
    show(_facts(grant), lambda: out.print(f"revoked {_line(grant)}", markup=False), as_json=as_json)


@app.command("list")
def listed(
    subject: Annotated[str | None, typer.Option("--subject", help="Of this subject only.", show_default=False)] = None,
    model: Model = None,
    digest: Digest = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List grants, how much of them is used, and those that were revoked."""
    with failures(as_json=as_json):
        which = digest_of(model, digest)
        with opened(state) as store:
            found = store.grants(subject, which)
    show({"grants": [_facts(grant) for grant in found]}, lambda: _tell(found), as_json=as_json)


@app.command("role")
def role(subject: Subject, name: RoleName, state: State = None, as_json: Json = False) -> None:
    """Say what a subject of OIDC tokens, oidc:NAME, may do besides what grants say; API keys have a role already."""
    with failures(as_json=as_json):
        wanted = role_of(name)
        with opened(state) as store:
            store.set_role(subject, wanted)
    line = printable(f"{subject} is {wanted.value} now")
    show({"subject": subject, "role": wanted.value}, lambda: out.print(line, markup=False), as_json=as_json)


@app.command("accept-clock")
def accept_clock(state: State = None, as_json: Json = False) -> None:
    """Go on from the time it is now, where the clock was ahead and the log has entries of later."""
    with failures(as_json=as_json), opened(state) as store:
        store.accept_clock()
    show({"accepted": True}, lambda: out.print("goes on from now", markup=False), as_json=as_json)


@contextmanager
def opened(state: str | None) -> Iterator[Store]:
    """Open the state database that --state names, or the user's own.

    Raises:
        UsageError: It cannot be opened.
    """
    from intact.serve.state import Store
    from intact.serve.state.database import default_url

    store = Store.open(state or default_url())
    try:
        yield store
    finally:
        store.close()


def seconds(text: str | None) -> int | None:
    """Return a time given as RFC 3339 text.

    Raises:
        UsageError: It is no such text.
    """
    from intact.seal import policy

    return None if text is None else policy.seconds(text)


def role_of(name: str) -> Any:
    """Return the role of that name.

    Raises:
        UsageError: There is none.
    """
    from intact.serve.state import Role

    try:
        return Role(name)
    except ValueError:
        raise UsageError(f"there is no role {name!a:.40}", hint=f"choose among {', '.join(Role)}") from None


def digest_of(model: Path | None, digest: str | None) -> str | None:
    """Return the digest of the model that --model or --digest names; None where neither is given.

    Raises:
        UsageError: Both are given, or it is no digest.
    """
    from intact import seal
    from intact.crypto import sha256
    from intact.serve.state.values import checked_digest

    if model is not None and digest is not None:
        raise UsageError("both --model and --digest are given", hint="give one of them")
    if model is not None:
        return sha256(seal.inspect(model).manifest.to_bytes())
    return None if digest is None else checked_digest(digest)


def when(moment: int | None) -> str:
    """Return a time as text; "-" for none."""
    from intact.seal import policy

    return NEVER if moment is None else policy.timestamp(moment)


def _facts(grant: Grant) -> dict[str, Any]:
    terms = asdict(grant.terms)
    times = {name: None if terms[name] is None else when(terms[name]) for name in ("not_before", "not_after")}
    return {
        "grant": grant.id,
        "subject": grant.subject,
        "model": grant.model,
        **terms,
        **times,
        "used": grant.used,
        "created": when(grant.created),
        "revoked": None if grant.revoked is None else when(grant.revoked),
    }


def _tell(grants: list[Grant]) -> None:
    for grant in grants:
        out.print(_line(grant), markup=False)
    if not grants:
        out.print("no grants: nobody may use a model", markup=False)


def _line(grant: Grant) -> str:
    terms = grant.terms
    parts = [f"grant {grant.id}", grant.subject, f"model {grant.model[:16]}"]
    parts.append(f"used {grant.used}" if terms.limit is None else f"used {grant.used} of {terms.limit}")
    parts += [] if terms.rate is None else [terms.rate]
    parts += [] if terms.shows == "full" else [f"shows {terms.shows}"]
    parts += [] if terms.not_before is None else [f"from {when(terms.not_before)}"]
    parts += [] if terms.not_after is None else [f"until {when(terms.not_after)}"]
    parts += [] if grant.revoked is None else [f"revoked {when(grant.revoked)}"]
    return printable("  ".join(parts))
