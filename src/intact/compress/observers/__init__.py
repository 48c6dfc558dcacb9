"""Ways to choose the range of an activation from what was seen of it: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from intact.compress.calibrate import Statistics
from intact.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The codes a range is chosen for: `levels` codes, the scale free or a power of two."""

    levels: int = 256
    power_of_two: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A closed interval of real values."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """A way to choose a range: `choose(statistics, grid, percentile)`; the range always holds zero."""

    name: str
    choose: Callable[[Statistics, Grid, float], Range]


@cache
def observers() -> dict[str, Observer]:
    """Return every observer in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").OBSERVER for name in names}


def observer(name: str) -> Observer:
    """Return the observer called `name`, or raise UsageError."""
    known = observers()
    if name not in known:
        raise UsageError(f"no observer is called '{name}'", hint=f"known observers: {', '.join(known)}")
    return known[name]
