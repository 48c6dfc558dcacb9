"""The values that a layer's weights may take: whole levels times scales, and the choice of the scales.

Row r of the weights has a unit u[r], and group g of its columns a whole multiplier m[r, g]: a weight is
u[r] * m[r, g] * level. The integer that runs is m * level, which fits 8 bits, so that narrow weights run as int8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.numbers import dyadic

Array = NDArray[Any]

LARGEST = 127
"""Magnitude of the integers that weights expand to."""
SHRINKS = np.linspace(1.0, 0.5, 21)
NARROW_SHRINKS = np.linspace(1.0, 0.3, 29)
SMALLEST = 2.0**-80
"""Below this a channel counts as all zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values a matrix of weights may take: level * scale.

    Args:
        levels: Whole numbers within -127 to 127, ascending, zero among them; int64, shape (L,).
        unit: float64, shape (rows,).
        multipliers: Whole numbers other than zero, below it only where the levels are not symmetric; int64, shape
            (rows, groups). Their product with any level is within +-127.
        group: Columns that share a multiplier; the last group may be shorter.
    """

    levels: NDArray[np.int64]
    unit: Array
    multipliers: NDArray[np.int64]
    group: int

    @property
    def scale(self) -> Array:
        """float64, shape (rows, groups)."""
        return np.asarray(self.unit[:, None] * self.multipliers)

    def column_scales(self, columns: int) -> Array:
        """The scale of each weight of `columns` columns: float64, shape (rows, columns), or (rows, 1) for one group."""
        return per_group(self.scale, self.group, columns)

    def nearest(self, weights: Array, scales: Array) -> NDArray[np.int64]:
        """The level nearest to each weight.

        Args:
            weights: float64, any shape.
            scales: What broadcasts against them.
        """
        return nearest_level(weights / scales, self.levels).astype(np.int64)

    def integers(self, levels: NDArray[np.int64]) -> NDArray[np.int8]:
        """The integers that run: level times multiplier, shape (rows, columns)."""
        return (levels * per_group(self.multipliers, self.group, levels.shape[1])).astype(np.int8)

    def decode(self, levels: NDArray[np.int64]) -> Array:
        """The real values of `levels`: float64, shape (rows, columns)."""
        return np.asarray(levels * self.column_scales(levels.shape[1]))


def nearest_level(steps: Array, levels: NDArray[np.int64]) -> Array:
    """The member of `levels` nearest to each of `steps`, half to even between neighbouring whole ones: float64."""
    if levels[-1] - levels[0] == len(levels) - 1:
        whole = np.rint(steps)
        np.minimum(whole, levels[-1], out=whole)
        return np.asarray(np.maximum(whole, levels[0], out=whole))
    middles = (levels[1:] + levels[:-1]) / 2
    return np.asarray(levels[np.searchsorted(middles, steps)].astype(np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Which grids a layer may have.

    Args:
        levels: As in `Grid`.
        group: Columns that share a multiplier; 0 for whole rows.
        power_of_two: Whether the unit of a row must be a power of two.
        floor: Least unit of each row: float64, shape (rows,).
    """

    levels: NDArray[np.int64]
    group: int
    power_of_two: bool
    floor: Array

    @property
    def most(self) -> int:
        """The greatest multiplier."""
        return LARGEST // int(np.abs(self.levels).max())

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs a multiplier may have: a group picks which of its sides gets the level that the other lacks."""
        return (1,) if np.array_equal(self.levels, -self.levels[::-1]) else (1, -1)

    @property
    def least_unit(self) -> Array:
        """The floor as a unit of this space: float64 > 0, shape (rows,)."""
        floor = np.maximum(self.floor, SMALLEST)
        return np.ldexp(1.0, dyadic.exponent_ceil(floor)) if self.power_of_two else floor

    def fit(self, weights: Array, importance: Array | None = None) -> Grid:
        """Choose the grid with the least squared error of the nearest levels, each column weighed by its importance.

        Args:
            weights: float64, shape (rows, columns).
            importance: Weight of a column's squared error: float64 >= 0, shape (columns,); all alike where it is None.

        Source:
            Choukroun et al. 2019, arXiv:1902.06822, for the search of a clipped range.
        """
        cells = _Cells(weights, importance, self.group or weights.shape[1])
        return self._near(cells, self._ideal(cells))

    def near(self, weights: Array, wanted: Array, importance: Array | None = None) -> Grid:
        """Choose the grid of least squared error among those whose scales are next to the wanted ones.

        Args:
            weights: float64, shape (rows, columns).
            wanted: The free scale of each group, not zero: float64, shape (rows, groups).
            importance: As in `fit`.
        """
        return self._near(_Cells(weights, importance, self.group or weights.shape[1]), wanted)

    def stretched(self, grid: Grid, share: float) -> Grid:
        """A grid of this space whose scales are about `share` times those of `grid`."""
        if not self.power_of_two:
            return replace(grid, unit=np.maximum(grid.unit * share, self.least_unit))
        size = np.clip(np.rint(np.abs(grid.multipliers) * share), 1, self.most)
        return replace(grid, multipliers=(np.sign(grid.multipliers) * size).astype(np.int64))

    def _near(self, cells: _Cells, wanted: Array) -> Grid:
        tried = [(unit, *self._multipliers(cells, wanted, unit)) for unit in self._units(wanted)]
        best = np.stack([error.sum(axis=1) for _, _, error in tried]).argmin(axis=0)
        rows = np.arange(len(best))
        return Grid(
            levels=self.levels,
            unit=np.stack([unit for unit, _, _ in tried])[best, rows],
            multipliers=np.stack([multipliers for _, multipliers, _ in tried])[best, rows],
            group=cells.group,
        )

    def _ideal(self, cells: _Cells) -> Array:
        """The free scale of least error for each group, negative where the levels fit better so: (rows, groups)."""
        top = np.maximum(cells.largest, SMALLEST) / np.abs(self.levels).max()
        shares = SHRINKS if len(self.levels) > 100 else NARROW_SHRINKS
        shares = np.concatenate([shares * sign for sign in self.signs])
        errors = np.stack([cells.error(top * share, self.levels) for share in shares])
        return np.asarray(top * shares[errors.argmin(axis=0)])

    def _units(self, wanted: Array) -> list[Array]:
        """Units to try: the greatest multiplier then reaches the largest scale of the row."""
        reach = np.abs(wanted).max(axis=1) / self.most
        if self.power_of_two:
            exponent = dyadic.exponent_ceil(reach)
            steps = range(-1, 2) if self.most > 1 else range(-2, 1)
            units = [np.ldexp(1.0, exponent + step) for step in steps]
        elif self.most == 1 or wanted.shape[1] == 1:
            units = [reach]
        else:
            units = [reach * (self.most / share) for share in range(self.most, max(self.most // 2, 1) - 1, -1)][:6]
        return [np.maximum(unit, self.least_unit) for unit in units]

    def _multipliers(self, cells: _Cells, wanted: Array, unit: Array) -> tuple[NDArray[np.int64], Array]:
        """For each group the whole multiplier of least error next to its wanted scale, and that error."""
        exact = np.abs(wanted) / unit[:, None]
        options = [np.copysign(np.clip(np.floor(exact) + step, 1, self.most), wanted) for step in (0, 1)]
        errors = np.stack([cells.error(option * unit[:, None], self.levels) for option in options])
        best = errors.argmin(axis=0)
        return np.where(best == 0, *options).astype(np.int64), errors.min(axis=0)


class _Cells:
    """Weights cut into groups of columns, the last filled up with zeros that weigh nothing."""

    def __init__(self, weights: Array, importance: Array | None, group: int) -> None:
        rows, columns = weights.shape
        importance = np.ones(columns) if importance is None else importance
        groups = -(-columns // group)
        missing = groups * group - columns
        padded = np.pad(weights, ((0, 0), (0, missing)))
        self._weights = padded.reshape(rows, groups, group)
        self._importance = np.pad(importance, (0, missing)).reshape(groups, group)
        self.group = group
        self.largest = np.abs(self._weights).max(axis=2)

    def error(self, scales: Array, levels: NDArray[np.int64]) -> Array:
        """The weighed squared error of each group at these scales: shape (rows, groups)."""
        steps = self._weights / scales[:, :, None]
        difference = (steps - nearest_level(steps, levels)) * scales[:, :, None]
        return np.asarray(np.einsum("rgk,gk->rg", np.square(difference), self._importance))


def per_group(values: Array, group: int, columns: int) -> Array:
    """Values per group repeated for each column; left as they are where there is one group."""
    return values if values.shape[1] == 1 else np.repeat(values, group, axis=1)[:, :columns]
