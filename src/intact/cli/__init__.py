"""The `intact` command: parse, one call, print."""

from __future__ import annotations

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
