"""Write the reference pages from the code: commands, public API, recipe keys.

Run `python docs/generate_reference.py`; with `--check` nothing is written, and the exit code is 1 if a page differs
from what the code says.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from docstrings import cell, docstring, first_line, items, reflow, signature, summary
from typer.main import get_command

import intact
from intact.cli import app
from intact.compress.methods import methods
from intact.compress.observers import observers
from intact.compress.recipe import LayerRecipe, Recipe, from_toml
from intact.engine import find

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/generate_reference.py from the code. Change the code, not this page. -->"

API: Mapping[str, tuple[str, ...]] = {
    "intact": tuple(intact.__all__),
    "intact.numbers": (),
    "intact.report": ("write",),
    "intact.scan": ("scan", "Report", "FileReport", "Finding"),
    "intact.pipeline": ("measure", "Reproduction", "calibrated_on"),
    "intact.compress.check": ("Verdict", "Outcome"),
    "intact.pipeline.agreement": ("Agreement",),
}
"""Modules of the reference and the names told of each; all that the module exports where none are given."""

KINDS = {str: "TEXT", Path: "PATH", int: "N", float: "X"}


def pages() -> dict[str, str]:
    """Return every page of the reference by its file name."""
    return {"cli.md": cli_page(), "api.md": api_page(), "recipe.md": recipe_page()}


# ---- commands


def cli_page() -> str:
    """Return the page of commands and their options."""
    lines = [NOTE, "", "# Command line", "", get_command(app).help or "", ""]
    for name, command in commands():
        lines += _command(name, command)
    lines += ["## Errors and exit codes", ""]
    lines += ["A failure is two lines on standard error, `error:` and `hint:`; with `--json`, one JSON object on"]
    lines += ["standard output. A usage mistake in the command line itself exits with 2, Ctrl-C with 130.", ""]
    tree = inspect.getdoc(import_module("intact.errors")) or ""
    lines += ["```text", tree.partition("\n\n")[2].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def commands(group: Any = None, prefix: str = "intact") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by its full name."""
    group = get_command(app) if group is None else group
    for name, command in sorted(group.commands.items()):
        full = f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def _command(name: str, command: Any) -> list[str]:
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    given = [p for p in command.params if p.param_type_name == "argument" or (p.required and p.opts)]
    usage = " ".join([name, *(_usage(p, hints) for p in given), "[OPTIONS]"])
    lines = [f"## {name}", "", *(reflow(inspect.cleandoc(command.help or ""))), "", "```text", usage, "```", ""]
    lines += ["| option | default | what it does |", "|---|---|---|"]
    lines += [_parameter(parameter, hints) for parameter in command.params]
    return [*lines, "| `--help` | | Show this in short. |", ""]


def _usage(parameter: Any, hints: Mapping[str, Any]) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return f"{parameter.opts[0]} {_kind(parameter, hints)}"


def _parameter(parameter: Any, hints: Mapping[str, Any]) -> str:
    if parameter.param_type_name == "argument":
        label = f"`{str(parameter.name).upper()}`"
    else:
        kind = "" if parameter.is_flag else f" {_kind(parameter, hints)}"
        label = ", ".join(f"`{option}{kind}`" for option in (*parameter.opts, *parameter.secondary_opts))
    default = "required" if parameter.required else ""
    if not parameter.required and parameter.default not in (None, False, ()):
        default = f"`{parameter.default}`"
    repeat = " Repeatable." if parameter.multiple and "repeat" not in (parameter.help or "") else ""
    return f"| {label} | {default} | {cell((parameter.help or '') + repeat)} |"


def _kind(parameter: Any, hints: Mapping[str, Any]) -> str:
    """What a value of the parameter is: TEXT, PATH, N or X."""
    hint = hints[parameter.name]
    while typing.get_args(hint):
        hint = next(each for each in typing.get_args(hint) if each is not types.NoneType)
    return KINDS[hint]


# ---- public API


def api_page() -> str:
    """Return the page of public names, with signatures and docstrings."""
    lines = [NOTE, "", "# Python API", ""]
    for module_name, names in API.items():
        module = import_module(module_name)
        lines += [f"## {module_name}", ""]
        if not names:
            lines += [*reflow((inspect.getdoc(module) or "").partition("\n\n")[0]), ""]
        for name in names or module.__all__:
            lines += _public(f"{module_name}.{name}", getattr(module, name))
    return "\n".join(lines).rstrip() + "\n"


def _public(name: str, value: Any) -> list[str]:
    lines = [f"### {name}", ""]
    if inspect.ismodule(value):
        lines += [*docstring(value), ""]
        own = (f for _, f in sorted(vars(value).items()) if inspect.isfunction(f) and f.__module__ == value.__name__)
        for function in own:
            if not function.__name__.startswith("_"):
                lines += _callable(f"{value.__name__.rpartition('.')[2]}.{function.__name__}", function)
        return lines
    if isinstance(value, type) and issubclass(value, enum.Enum):
        members = ", ".join(f"`{member.name}`" for member in value)
        return [*lines, *docstring(value), "", f"Members: {members}.", ""]
    if isinstance(value, type) and issubclass(value, Exception):
        bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__)
        return [*lines, *docstring(value), "", f"A kind of {bases}; exit code {getattr(value, 'exit_code', 1)}.", ""]
    lines += _callable(name, value)
    return [*lines, *_members(name.rpartition(".")[2], value)] if isinstance(value, type) else lines


def _callable(name: str, value: Any) -> list[str]:
    return ["```python", signature(name, value), "```", "", *docstring(value), ""]


def _members(name: str, value: type) -> list[str]:
    """Public methods and properties, and the call, that have words of their own."""
    lines: list[str] = []
    for member_name, member in vars(value).items():
        if member_name.startswith("_") and member_name != "__call__":
            continue
        if isinstance(member, property) and member.__doc__:
            lines += [f"**`{name}.{member_name}`** {summary(member)}", ""]
        elif isinstance(member, classmethod | staticmethod | types.FunctionType) and summary(member):
            function = member if isinstance(member, types.FunctionType) else member.__func__
            lines += _callable(f"{name}.{member_name}", function)
    return lines


# ---- recipe


def recipe_page() -> str:
    """Return the page of recipe keys."""
    lines = [NOTE, "", "# Recipe", "", "How a model is compressed: `intact.Recipe` in Python, a TOML file for"]
    lines += ["`intact build --recipe`. Every key may be left out; an unknown one is an error.", ""]
    lines += ["This is the default, written out:", "", "```toml", default_toml().rstrip(), "```", ""]
    lines += ["## Keys of the file", "", *_keys(Recipe, skip=("default", "overrides"))]
    lines += ["", '## Keys of `[default]` and of `[layers."PATTERN"]`', "", *_keys(LayerRecipe)]
    lines += [
        "",
        'A table `[layers."PATTERN"]` holds what differs from `[default]` for the layers whose name matches a',
    ]
    lines += [
        "shell-style pattern (`*`, `?`, `[abc]`). Later tables win over earlier ones. A pattern that matches no layer"
    ]
    lines += ["is an error, which lists the layers there are."]
    families = (("method", methods()), ("observer", observers()))
    for key, members in families:
        lines += ["", f"## Values of `{key}`", "", "| name | what it does |", "|---|---|"]
        lines += [f"| `{name}` | {cell(_module_line(member))} |" for name, member in members.items()]
    lines += ["", "## Engines", "", "Not part of a recipe; for `--engine` and `engines=`.", ""]
    lines += ["| name | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {cell(_module_line(backend))} |" for name, backend in find().items()]
    return "\n".join(lines) + "\n"


def default_toml() -> str:
    """Return the default recipe as a file, checked by reading it."""
    top = _settings(Recipe, skip=("default", "overrides"))
    text = "\n".join([*top, "", "[default]", *_settings(LayerRecipe)]) + "\n"
    assert from_toml(text) == Recipe(), "the default recipe does not read back as itself"
    return text


def _settings(kind: type, *, skip: tuple[str, ...] = ()) -> list[str]:
    return [f"{each.name} = {_toml(_default(each))}" for each in fields(kind) if each.name not in skip]


def _keys(kind: type, *, skip: tuple[str, ...] = ()) -> list[str]:
    assert is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    words = _arguments(kind)
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for each in fields(kind):
        if each.name not in skip:
            values = ", ".join(f"`{value}`" for value in _choices(hints[each.name]))
            lines.append(f"| `{each.name}` | {values} | `{_toml(_default(each))}` | {cell(words[each.name])} |")
    return lines


def _arguments(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each argument."""
    body = (inspect.getdoc(kind) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    pairs = (item.partition(": ") for item in items(body))
    return {name: text for name, _, text in pairs}


def _choices(hint: Any) -> list[str]:
    """The values a type stands for: literals in TOML's spelling, and the kinds of the rest."""
    if typing.get_origin(hint) is typing.Literal:
        return [_toml(value) for value in typing.get_args(hint)]
    if typing.get_args(hint):
        return [choice for part in typing.get_args(hint) for choice in _choices(part)]
    return [{str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]]


def _default(each: Field[Any]) -> Any:
    if each.default is not MISSING:
        return each.default
    factory: Callable[[], Any] = each.default_factory  # type: ignore[assignment]
    return factory()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _module_line(member: Any) -> str:
    """The first sentence of the file that a member of a family lives in."""
    function = next(f for f in (getattr(member, name, None) for name in ("solve", "choose", "load")) if f)
    return first_line(sys.modules[function.__module__])


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Write the reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    parser.add_argument("--out", type=Path, default=HERE / "reference", help="folder of the pages")
    options = parser.parse_args()
    stale = []
    for name, text in pages().items():
        path: Path = options.out / name
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"error: not what the code says: {', '.join(stale)}", file=sys.stderr)
        print("hint: run python docs/generate_reference.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
