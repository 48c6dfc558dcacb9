"""`intact scan`: does a file carry code?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intact.cli.console import failures, out, printable, show
from intact.cli.options import Json

if TYPE_CHECKING:
    from intact.scan import Report


def scan(
    path: Annotated[Path, typer.Argument(help="A file, or a folder with all below it.", show_default=False)],
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with", help="Ask this scanner too, fickling or modelscan; may be repeated.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether files carry code or are of a format that may. Nothing in them is run, imported or unpickled.

    Formats are let through by their content, whatever the name: ONNX with standard operators, safetensors, .npz and
    .npy without objects, Parquet, JSON and text. All else is refused, and what was found is explained.
    Exit codes: 0 clean, 1 refused, 2 bad input.
    """
    with failures(as_json=as_json):
        from intact import scan as scanning

        found = scanning.scan(path)
        if beside:
            found = scanning.ask(found, beside)
    show(found.to_json(), lambda: out.print("\n".join(_lines(found)), markup=False), as_json=as_json)
    if not found.clean:
        raise typer.Exit(1)


def _lines(report: Report) -> list[str]:
    told = []
    for file in report.refused:
        for finding in file.findings:
            where = f", in {finding.inside}" if finding.inside else ""
            by = "" if finding.found_by == "intact" else f" ({finding.found_by})"
            told.append(printable(f"refused: {file.path}{where}: {finding.told}{by}"))
    kinds = Counter(file.format for file in report.files if file.clean)
    formats = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items())) or "none"
    return [*told, f"{len(report.files)} files, {len(report.refused)} refused; clean: {formats}"]
