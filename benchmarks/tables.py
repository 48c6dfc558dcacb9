"""Write the tables of README.md and docs/benchmarks.md, between `<!-- table:NAME -->` and `<!-- /table:NAME -->`.

They are made of benchmarks/results.

The plots under docs/plots are written too.

Run `python benchmarks/tables.py`, or with `--check` to find out whether they are up to date (exit 1 where not), or with
`--print` to see them all.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import table_guard
import table_serving
import table_text
import table_widths
import width_plots
from places import RESULTS, ROOT

TABLES = {
    **table_text.TABLES,
    **table_guard.TABLES,
    "serving": table_serving.serving,
    "waits": table_serving.waits,
    "widths_resnet20": table_widths.resnet20,
    "widths_minilm": table_widths.minilm,
    "widths_stories": table_widths.stories,
}
PLOTS = ROOT / "docs" / "plots"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")

BLOCK = re.compile(r"<!-- table:(?P<name>[\w-]+) -->\n(?P<body>.*?)<!-- /table:(?P=name) -->", re.DOTALL)
OPENING = re.compile(r"<!-- /?table:")


class TableError(Exception):
    """A marker that cannot be followed."""


def render(text: str, folder: Path) -> str:
    """Return `text` with every marked table as the results in `folder` make it.

    Raises:
        TableError: A marker has no partner, names no table, or its benchmark was never run.
    """
    if len(OPENING.findall(text)) != 2 * len(BLOCK.findall(text)):
        raise TableError("a table marker has no partner")
    return BLOCK.sub(lambda block: _block(block["name"], folder), text)


def _block(name: str, folder: Path) -> str:
    if name not in TABLES:
        raise TableError(f"there is no table '{name}', only {', '.join(TABLES)}")
    try:
        body = TABLES[name](folder)
    except LookupError as error:
        raise TableError(f"the results for table '{name}' lack {error}") from error
    return f"<!-- table:{name} -->\n{body}\n<!-- /table:{name} -->"


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done or up to date, 1 out of date, 2 not to be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a table is out of date")
    parser.add_argument("--print", action="store_true", help="show every table that has results")
    parser.add_argument("--readme", type=Path, help="another page, in place of README.md and docs/benchmarks.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plots", type=Path, help="where plots go; docs/plots where no other page is given")
    options = parser.parse_args(arguments)
    if options.print:
        return show(options.results)
    pages = PAGES if options.readme is None else (options.readme,)
    try:
        old = {page: page.read_text(encoding="utf-8") for page in pages}
        new = {page: render(text, options.results) for page, text in old.items()}
    except (OSError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    changed = [page.name for page in pages if new[page] != old[page]]
    plots = options.plots or (PLOTS if options.readme is None else None)
    if plots is not None:
        changed += [path.name for path in width_plots.write(plots, options.results, check=options.check)]
    if options.check and changed:
        print(f"error: tables or plots are out of date in {', '.join(changed)}\nhint: make tables", file=sys.stderr)
        return 1
    for page in pages:
        if new[page] != old[page]:
            page.write_text(new[page], encoding="utf-8")
    return 0


def show(folder: Path) -> int:
    """Print every table as it would be written."""
    for name in TABLES:
        try:
            print(_block(name, folder), end="\n\n")
        except TableError as error:
            print(f"{name}: {error}", end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
