"""`intact apikeys`: keys that callers, auditors and administrators of a server show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.console import err, failures, out, printable, show
from intact.cli.grants import NotAfter, State, opened, role_of, seconds, when
from intact.cli.options import Json, Quiet

if TYPE_CHECKING:
    from intact.serve.state import KeyInfo

Subject = Annotated[str, typer.Argument(help="Whom it belongs to, such as alice.", show_default=False)]
RoleOption = Annotated[str, typer.Option("--role", help="admin, auditor or caller.")]
Id = Annotated[str, typer.Argument(help="Id of the key, as listed.", show_default=False)]

app = typer.Typer(help="Make and revoke keys that callers show to a server.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make and revoke keys that callers show to a server."""


@app.command("new")
def new(
    subject: Subject,
    role: RoleOption = "caller",
    not_after: NotAfter = None,
    state: State = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a key, and print it: this once, for it is kept nowhere."""
    with failures(as_json=as_json):
        wanted, end = role_of(role), seconds(not_after)
        with opened(state) as store:
            text, info = store.add_key(subject, wanted, not_after=end)
    key = text.value.decode()
    show({**_facts(info), "key": key}, lambda: out.print(key, markup=False), as_json=as_json)
    if not quiet and not as_json:
        err.print(printable(f"remark: key {info.id} of {subject}; it is shown this once"), markup=False)


@app.command("revoke")
def revoke(key: Id, state: State = None, as_json: Json = False) -> None:
    """Revoke a key, for good. Nothing more is answered to it, on any server."""
    with failures(as_json=as_json), opened(state) as store:
        info = store.revoke_key(key)
    show(_facts(info), lambda: out.print(f"revoked {_line(info)}", markup=False), as_json=as_json)


@app.command("list")
def listed(state: State = None, as_json: Json = False) -> None:
    """List keys, without what is secret of them."""
    with failures(as_json=as_json), opened(state) as store:
        found = store.keys()
    show({"keys": [_facts(info) for info in found]}, lambda: _tell(found), as_json=as_json)


def _facts(info: KeyInfo) -> dict[str, Any]:
    times = {"created": info.created, "not_after": info.not_after, "revoked": info.revoked}
    said = {name: None if moment is None else when(moment) for name, moment in times.items()}
    return {"id": info.id, "subject": info.subject, "role": info.role.value, **said}


def _tell(keys: list[KeyInfo]) -> None:
    for info in keys:
        out.print(_line(info), markup=False)
    if not keys:
        out.print("no keys", markup=False)


def _line(info: KeyInfo) -> str:
    parts = [info.id, info.subject, info.role.value, f"made {when(info.created)}"]
    parts += [] if info.not_after is None else [f"until {when(info.not_after)}"]
    parts += [] if info.revoked is None else [f"revoked {when(info.revoked)}"]
    return printable("  ".join(parts))
