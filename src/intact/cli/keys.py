"""`intact keys`: make keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact.cli.console import failures, out, show
from intact.cli.options import Json

app = typer.Typer(help="Make keys.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make keys."""


@app.command("new")
def new(
    target: Annotated[Path, typer.Option("--out", help="Folder for the four key files.", show_default=False)],
    post_quantum: Annotated[
        bool, typer.Option("--post-quantum", help="The pair to open with is of ML-KEM-768 and X25519 together.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key pair to open with (identity.key, identity.pub) and one to sign with (signing.key, signing.pub)."""
    with failures(as_json=as_json):
        from intact import seal

        seal.new_keys(target, post_quantum=post_quantum)
        names = ("identity.key", "identity.pub", "signing.key", "signing.pub")
        result = {"out": str(target), "recipient": (target / "identity.pub").read_text().strip(), "files": list(names)}
        show(result, lambda: out.print(f"wrote {', '.join(names)} to {target}", markup=False), as_json=as_json)
