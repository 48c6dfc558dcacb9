"""The engines: one file each, found by listing this folder."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType

from intact.engine.backend import Backend
from intact.errors import UsageError


@lru_cache(maxsize=1)
def find() -> Mapping[str, Backend]:
    """Return every backend by name, in alphabetical order. No engine's library is imported."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: import_module(f"{__name__}.{name}").BACKEND for name in names}
    return MappingProxyType(found)


def get(name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        UsageError: There is none.
    """
    backend = find().get(name)
    if backend is None:
        raise UsageError(f"there is no engine '{name}'", hint=f"choose from {', '.join(find())}")
    return backend
