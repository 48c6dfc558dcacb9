"""The `intact` command: parse, one call, print."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from intact.cli import artifact, build, demo, doctor, keys

app = typer.Typer(
    name="intact",
    help="Small, fast, bit-exact, sealed integer models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"intact {version('intact')}")
        raise typer.Exit


@app.callback()
def top(
    show: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Small, fast, bit-exact, sealed integer models."""


app.add_typer(keys.app, name="keys")
app.command("build")(build.build)
app.command("inspect")(artifact.inspect)
app.command("verify")(artifact.verify)
app.command("run")(artifact.run)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line."""
    app()
