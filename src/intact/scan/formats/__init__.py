"""What is let through: a family with one file a format, found by listing this folder.

A member ends in `FORMAT`. The first whose `recognise` holds says what a file is; whether it is let through then says
`examine`. Their order is that of their `rank`, the surest first.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from intact.scan.blob import Blob
from intact.scan.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a member says of a file that it recognised.

    Args:
        findings: Why the file is refused all the same.
        uses: Other files that it refers to, by path from its own folder.
    """

    findings: tuple[Finding, ...] = ()
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that is let through.

    Args:
        name: What it is called.
        rank: Formats of a lower rank are asked first.
        text: Whether it is text, which can be a pickle too.
        recognise: Whether a blob is of this format, by its content alone.
        examine: What is wrong with it, given the folder it lies in, None where it lies in none.
    """

    name: str
    rank: int
    text: bool = False
    recognise: Callable[[Blob], bool]
    examine: Callable[[Blob, Path | None], Examined]


@cache
def formats() -> tuple[Format, ...]:
    """Return every member, in the order they are asked."""
    names = [each.name for each in pkgutil.iter_modules(__path__)]
    found: list[Format] = [import_module(f"{__name__}.{name}").FORMAT for name in names]
    return tuple(sorted(found, key=lambda each: each.rank))
