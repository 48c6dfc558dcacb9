"""The family of ways to store a tensor: one file each, found by listing this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from intact.errors import IntegrityError
from intact.numbers.storage.form import Form


@cache
def forms() -> dict[str, Form]:
    """Return the `FORM` record of every module in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").FORM for name in names}


def form(name: str) -> Form:
    """Return the form called `name`, or raise IntegrityError: names come from artifacts."""
    if name not in forms():
        raise IntegrityError(
            f"a tensor is stored as {name!a:.40}, which this version does not know",
            hint="open the artifact with the version of intact that wrote it",
        )
    return forms()[name]
