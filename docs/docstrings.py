"""Signatures and docstrings as Markdown."""

from __future__ import annotations

import enum
import inspect
import re
from typing import Any

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Source")


def signature(name: str, value: Any) -> str:
    """Return the signature of a function or class as Python writes it, one parameter a line where it is long."""
    found = inspect.signature(value)
    parts: list[str] = []
    star = False
    for parameter in found.parameters.values():
        if parameter.name == "self" and not parts:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        parts.append(_declaration(parameter))
    ending = "" if isinstance(value, type) else _arrow(found.return_annotation)
    short = f"{name}({', '.join(parts)}){ending}"
    return short if len(short) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){ending}"


def _declaration(parameter: inspect.Parameter) -> str:
    prefix = "*" * (1 * (parameter.kind is parameter.VAR_POSITIONAL) + 2 * (parameter.kind is parameter.VAR_KEYWORD))
    kind = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return f"{prefix}{parameter.name}{kind}"
    return f"{parameter.name}{kind} = {_value(parameter.default)}"


def _arrow(annotation: Any) -> str:
    return "" if annotation is inspect.Signature.empty else f" -> {_annotation(annotation)}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _value(value: Any) -> str:
    """A default as a reader would write it; `...` where it is made afresh."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if inspect.isfunction(value):
        return value.__name__
    return "..." if repr(value).startswith("<") else repr(value)


def docstring(value: Any) -> list[str]:
    """Return a docstring in Markdown: what it says, then its sections as lists."""
    text = inspect.getdoc(value) or ""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", text, flags=re.MULTILINE)
    lines = _prose(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines += ["", f"{title}:", "", *_section(title, inspect.cleandoc("\n" + body))]
    return lines


def _section(title: str, body: str) -> list[str]:
    if title in ("Returns", "Source"):
        return _prose(body)
    return [_item(item) for item in items(body)]


def items(body: str) -> list[str]:
    """Return the items of a section, each on one line."""
    return [" ".join(item.split()) for item in re.split(r"\n(?=\S)", inspect.cleandoc("\n" + body))]


def _item(text: str) -> str:
    name, separator, rest = text.partition(": ")
    if not separator:
        return f"- {escape(text)}"
    return f"- {', '.join(f'`{each}`' for each in name.split(', '))}: {escape(rest)}"


def _prose(text: str) -> list[str]:
    """Paragraphs, escaped; what is indented stays as it is, as a block."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("    "):
            lines += ["```text", inspect.cleandoc("\n" + paragraph), "```", ""]
        elif paragraph.strip():
            lines += [*reflow(escape(paragraph)), ""]
    return lines[:-1]


def summary(value: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return escape((inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " "))


def reflow(text: str) -> list[str]:
    """Return the lines of a text without indentation."""
    return [line.strip() for line in text.splitlines()]


def escape(text: str) -> str:
    """Keep Markdown from taking formulas for emphasis or markup; what stands in backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<|])", r"\\\1", part) for part in parts)


def cell(text: str) -> str:
    """Return a text as the cell of a table."""
    return " ".join(escape(text).split())


def first_line(value: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(value) or "").splitlines()[0]
