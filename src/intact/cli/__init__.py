"""The `intact` command: parse, one call, print."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from intact.cli import (
    apikeys,
    artifact,
    bench,
    bom,
    build,
    demo,
    doctor,
    grants,
    keys,
    log,
    receipt,
    recipients,
    reproduce,
    scan,
    serve,
    tune,
)
from intact.cli.console import INTERRUPTED, tell
from intact.errors import UsageError

app = typer.Typer(
    name="intact",
    help="Small, fast, bit-exact, sealed integer models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

CommandError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What a slip in the command itself raises; typer may carry a click of its own, so its class is taken from typer."""


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
app.add_typer(recipients.app, name="recipients")
app.add_typer(apikeys.app, name="apikeys")
app.add_typer(grants.app, name="grants")
app.add_typer(log.app, name="log")
app.add_typer(receipt.app, name="receipt")
app.command("build")(build.build)
app.command("tune")(tune.tune)
app.command("bench")(bench.bench)
app.command("inspect")(artifact.inspect)
app.command("verify")(artifact.verify)
app.command("sign")(artifact.sign)
app.command("rekey")(recipients.rekey)
app.command("run")(artifact.run)
app.command("serve")(serve.serve)
app.command("reproduce")(reproduce.reproduce)
app.command("bom")(bom.bom)
app.command("scan")(scan.scan)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line. With --json a slip in the command itself is told as JSON too."""
    try:
        code = app(standalone_mode=False)
    except CommandError as error:
        if "--json" in sys.argv:
            tell(UsageError(error.format_message(), hint="see --help"), as_json=True)
        else:
            error.show()
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
