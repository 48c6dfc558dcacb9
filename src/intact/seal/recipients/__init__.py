"""The family of ways to wrap a data key: one file each, found by listing this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from intact.seal.recipient import Kind


@cache
def kinds() -> tuple[Kind, ...]:
    """Return the `KIND` record of every module in this folder, sorted by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").KIND for name in names)
