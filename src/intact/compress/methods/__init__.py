"""Ways to round weights to codes, all over the same layer problem: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.numbers import Affine, Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One layer's rounding problem.

    Args:
        weights: float32, shape (rows, columns); a row is an output channel.
        encoding: Signed code with a scale per row (axis 0).
        generator: Source of every random draw.
    """

    weights: NDArray[Any]
    encoding: Affine
    generator: np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to round: `solve(problem)` returns codes of the problem's shape and encoding."""

    name: str
    solve: Callable[[Problem], Codes]


@cache
def methods() -> dict[str, Method]:
    """Return every method in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").METHOD for name in names}


def method(name: str) -> Method:
    """Return the method called `name`, or raise UsageError."""
    known = methods()
    if name not in known:
        raise UsageError(f"no rounding method is called '{name}'", hint=f"known methods: {', '.join(known)}")
    return known[name]
