"""Ways to round weights to levels of a grid, all over the same layer problem: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.space import Grid, Space
from intact.errors import UsageError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One layer's rounding problem: find Q on a grid such that E||(W - Q) x||^2 = tr((W - Q) H (W - Q)^T) is small.

    Args:
        weights: W: what the layer should hold for the inputs that it will really get; float64, shape (rows, columns);
            a row is an output channel.
        gram: H: mean of x x^T over those inputs, about their mean where the bias can take that; float64, shape
            (columns, columns), symmetric, positive semidefinite. None where nothing is known of them.
        space: Which grids are allowed.
        generator: Source of every random draw.
        keep: Which weights may be other than zero: bool, shape (rows, columns); None for all.
    """

    weights: Array
    gram: Array | None
    space: Space
    generator: np.random.Generator
    keep: NDArray[np.bool_] | None = None

    @property
    def importance(self) -> Array | None:
        """The diagonal of H: how much a column's squared error counts by itself."""
        return None if self.gram is None else np.diag(self.gram).clip(0.0)

    def masked(self, levels: NDArray[np.int64]) -> NDArray[np.int64]:
        """`levels` with zeros where nothing may be kept."""
        return levels if self.keep is None else np.where(self.keep, levels, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """An answer: whole levels on a grid.

    Args:
        levels: Members of `grid.levels`: int64, shape (rows, columns).
        grid: Their meaning.
        note: What the method had to do beyond the wish, such as more damping; empty for nothing.
    """

    levels: NDArray[np.int64]
    grid: Grid
    note: str = ""

    @property
    def values(self) -> Array:
        """Q: float64, shape (rows, columns)."""
        return self.grid.decode(self.levels)


def output_error(problem: Problem, answer: Rounded) -> Array:
    """Return tr((W - Q) H (W - Q)^T) row by row, H = I where nothing is known of the inputs: float64, shape (rows,)."""
    difference = problem.weights - answer.values
    weighed = difference if problem.gram is None else difference @ problem.gram
    return np.asarray(np.einsum("rk,rk->r", weighed, difference))


def best(problem: Problem, answers: Sequence[Rounded]) -> Rounded:
    """Return, row by row, the answer of least output error; the first of equals. All are of the problem's space."""
    chosen = np.stack([output_error(problem, answer) for answer in answers]).argmin(axis=0)
    rows = np.arange(len(chosen))
    grid = replace(
        answers[0].grid,
        unit=np.stack([answer.grid.unit for answer in answers])[chosen, rows],
        multipliers=np.stack([answer.grid.multipliers for answer in answers])[chosen, rows],
    )
    levels = np.stack([answer.levels for answer in answers])[chosen, rows]
    notes = dict.fromkeys(answer.note for answer in answers if answer.note)
    return Rounded(levels=levels, grid=grid, note="; ".join(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to round.

    Args:
        name: The file's name.
        solve: Returns levels of the problem's shape on a grid of its space.
        needs_inputs: Whether it looks at the inputs, so that calibration data are wanted.
    """

    name: str
    solve: Callable[[Problem], Rounded]
    needs_inputs: bool = False


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
