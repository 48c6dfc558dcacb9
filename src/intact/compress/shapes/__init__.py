"""Which levels the codes of weights stand for: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError

Array = NDArray[Any]


LARGEST = 127
"""Magnitude of the integers that weights expand to."""
SHARED = {6: 42, 7: LARGEST, 8: LARGEST}
"""Largest level for a width of codes where multipliers choose the scale; `NARROW` for what is not here."""
NARROW = 21


class Levels(Protocol):
    """Chooses the levels of one layer."""

    def __call__(
        self, weights: Array, bits: int, importance: Array | None, largest: int = LARGEST
    ) -> NDArray[np.int64]:
        """Return at most 2^bits whole numbers within -largest to largest, ascending, zero among them: int64, (L,).

        Args:
            weights: float64, shape (rows, columns).
            bits: Width of the codes, 2 to 8.
            importance: How much a column's squared error counts: float64 >= 0, shape (columns,); None for all alike.
            largest: See `room`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A way to choose levels.

    Args:
        name: The file's name, with hyphens.
        levels: See `Levels`.
    """

    name: str
    levels: Levels


def room(bits: int, group: int, power_of_two: bool) -> int:
    """How large levels that are not an equal step apart may be, so that multipliers can still tell groups apart.

    Where each row has one free scale, the scale does all and levels may be as fine as 8 bits. Where multipliers choose
    the scale, levels up to 21 leave 1 to 6 to them: NF4 on layers of ResNet-20 and MiniLM then errs less than with 127
    (by a tenth for rows with powers of two, by a fifth in groups of 32). Wider codes need larger levels.
    """
    return SHARED.get(bits, NARROW) if group or power_of_two else LARGEST


@cache
def shapes() -> dict[str, Shape]:
    """Return every shape in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [importlib.import_module(f"{__name__}.{name}").SHAPE for name in names]
    return {each.name: each for each in found}


def shape(name: str) -> Shape:
    """Return the shape called `name`, or raise UsageError."""
    known = shapes()
    if name not in known:
        raise UsageError(f"no shape of codes is called '{name}'", hint=f"known shapes: {', '.join(known)}")
    return known[name]
