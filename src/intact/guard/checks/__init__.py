"""Checks of a call: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from intact.guard.check import Check


@cache
def checks() -> Mapping[str, Check]:
    """Return every check in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return MappingProxyType({name: importlib.import_module(f"{__name__}.{name}").CHECK for name in names})
