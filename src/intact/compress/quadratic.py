"""The error of a layer's output as a quadratic form: rounding columns in turn, descending on it, refitting scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.space import Grid, Space, nearest_level, per_group
from intact.errors import DataError, ModelError

Array = NDArray[Any]
Levels = NDArray[np.int64]

DAMPING = 0.01
"""Added to the diagonal of H, as a share of its mean: what inputs not seen in calibration might do."""
RAISE = 10.0
MOST_DAMPING = 10.0
BLOCK = 48
"""Columns whose errors are handed on one by one before the rest hears of them in one product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """H = U diag(pivots) U^T of the damped second moments, its columns in the order of rounding.

    The error of rounding columns in that order is sum_j pivots[j] * (E U)[j]^2, where (E U)[j] looks back only.

    Args:
        order: Columns, the one that counts most first; int64, shape (columns,).
        feedback: U, upper triangular with ones on its diagonal: float64, shape (columns, columns).
        pivots: float64 > 0, shape (columns,).
        damping: Share of the mean of the diagonal that was added to it.
        repaired: Whether more damping than wished was needed.
    """

    order: NDArray[np.int64]
    feedback: Array
    pivots: Array
    damping: float
    repaired: bool

    @property
    def importance(self) -> Array:
        """How much a column's error counts once the columns after it may make up for it: shape (columns,)."""
        weight = np.empty_like(self.pivots)
        weight[self.order] = self.pivots
        return weight

    @property
    def note(self) -> str:
        """What was done to H beyond the wish; empty for nothing."""
        return f"second moments not positive definite: damping raised to {self.damping:g}" if self.repaired else ""


def factor(gram: Array, damping: float = DAMPING) -> Factor:
    """Factor the damped H in float64, the columns ordered by their diagonal, largest first.

    Raises:
        DataError: H holds a NaN or an infinity.
        ModelError: H is so far from positive semidefinite that no reasonable damping repairs it.

    Source:
        Frantar et al. 2022, arXiv:2210.17323, section 3.3 (damping, Cholesky) and its activation order. The factor of H
        with U on the left gives the same feedback as the Cholesky factor of the inverse, with no inverse to take.
    """
    if not np.isfinite(gram).all():
        raise DataError("second moments of a layer's inputs hold a NaN or an infinity", hint="check calibration data")
    order = np.argsort(-np.diag(gram), kind="stable")
    share = damping
    while share <= MOST_DAMPING:
        try:
            lower = np.linalg.cholesky(damped(gram, share)[np.ix_(order, order)][::-1, ::-1])
        except np.linalg.LinAlgError:
            share = max(share, DAMPING / 100) * RAISE
            continue
        upper = lower[::-1, ::-1]
        roots = np.diag(upper)
        return Factor(
            order=order, feedback=upper / roots, pivots=np.square(roots), damping=share, repaired=share > damping
        )
    raise ModelError(
        f"second moments of a layer's inputs have a Cholesky factor at no damping up to {MOST_DAMPING:g} of their mean",
        hint="check the calibration data: they should be a mean of x x^T",
    )


def damped(gram: Array, share: float) -> Array:
    """H with `share` of its diagonal's mean added to the diagonal; of one where H is all zero."""
    mean = float(np.diag(gram).clip(0.0).mean()) or 1.0
    return np.asarray(gram + share * mean * np.eye(len(gram)), np.float64)


def feed(weights: Array, found: Factor, grid: Grid, keep: NDArray[np.bool_] | None = None) -> Levels:
    """Round columns one by one, each moved first by what the errors of the columns before it ask for.

    Args:
        weights: W: float64, shape (rows, columns).
        found: The factor of H.
        grid: Where to round to.
        keep: Which weights may be other than zero; None for all.

    Source:
        Frantar et al. 2022, arXiv:2210.17323, section 3.3, with its blocked ("lazy") updates.
    """
    pen = _Pen(weights, grid, keep, order=found.order)
    for block in _blocks(len(found.order)):
        near = found.feedback[block, block]
        moved = pen.target[block] + found.feedback[: block.start, block].T @ pen.errors[: block.start]
        for k, column in enumerate(range(block.start, block.stop)):
            pen.write(column, moved[k] + near[:k, k] @ pen.errors[block.start : column])
    return pen.answer()


def descend(
    weights: Array, gram: Array, grid: Grid, levels: Levels, keep: NDArray[np.bool_] | None = None, sweeps: int = 4
) -> Levels:
    """Move one weight of each row at a time to the level of least error, all others held, until none moves.

    Args:
        weights: W: float64, shape (rows, columns).
        gram: H: float64, shape (columns, columns); columns whose diagonal is not above zero stay as they are.
        grid: What levels mean.
        levels: Where to start: int64, shape (rows, columns).
        keep: Which weights may be other than zero; None for all.
        sweeps: Most passes over the columns.

    Returns:
        Levels with an error no greater, up to rounding of float64, in any row.

    Source:
        Behdin et al. 2023, arXiv:2309.01885, section 3.
    """
    pen = _Pen(weights, grid, keep, start=levels)
    for _ in range(sweeps):
        moved = [_sweep(pen, gram, block) for block in _blocks(weights.shape[1])]
        if not any(moved):
            break
    return pen.answer()


def _sweep(pen: _Pen, gram: Array, block: slice) -> bool:
    """One pass over a block of columns; whether any weight moved."""
    pull = gram[block] @ pen.errors  # (block, rows): half the gradient
    near = gram[block, block]
    before, moved = pen.levels[block].copy(), np.zeros_like(pull)
    for k, column in enumerate(range(block.start, block.stop)):
        if near[k, k] > 0:
            was = pen.errors[column].copy()
            here = pull[k] + near[k, :k] @ moved[:k]
            pen.write(column, pen.target[column] - was + here / near[k, k])
            np.subtract(pen.errors[column], was, out=moved[k])
    return bool((before != pen.levels[block]).any())


def refit(weights: Array, gram: Array, grid: Grid, levels: Levels, space: Space) -> Grid:
    """The levels held, move multipliers one group at a time, then free units, to where the error is least.

    Returns:
        A grid of `space` with an error no greater, up to rounding of float64, in any row.
    """
    multipliers = grid.multipliers.copy()
    values = grid.decode(levels)
    for index, start in enumerate(range(0, weights.shape[1], grid.group)):
        part = slice(start, start + grid.group)
        unitary = levels[:, part] * grid.unit[:, None]  # what one multiplier adds
        pull = np.einsum("rk,rk->r", (weights - values) @ gram[:, part], unitary)
        bend = np.einsum("rk,rk->r", unitary @ gram[part, part], unitary)
        step = np.divide(pull, bend, out=np.zeros_like(pull), where=bend > 0)
        was = multipliers[:, index]
        size = np.clip(np.rint(np.sign(was) * (was + step)), 1, space.most)  # its sign stays
        wanted = (np.sign(was) * size).astype(np.int64)
        values[:, part] += unitary * (wanted - was)[:, None]
        multipliers[:, index] = wanted
    return replace(grid, multipliers=multipliers, unit=_unit(weights, gram, grid.unit, values, space))


def _unit(weights: Array, gram: Array, unit: Array, values: Array, space: Space) -> Array:
    """The unit of each row at which its values err least; as it is where it must be a power of two."""
    if space.power_of_two:
        return unit
    weighed = values @ gram
    bend = np.einsum("rk,rk->r", weighed, values)
    pull = np.einsum("rk,rk->r", weighed, weights)
    share = np.divide(pull, bend, out=np.ones_like(pull), where=(bend > 0) & (pull > 0))
    return np.asarray(np.maximum(unit * share, space.least_unit))


class _Pen:
    """Writes one column's levels at a time and keeps the errors W - Q up to date; rows along the last axis."""

    def __init__(
        self,
        weights: Array,
        grid: Grid,
        keep: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None = None,
        start: Levels | None = None,
    ) -> None:
        order = np.arange(weights.shape[1]) if order is None else order
        self._grid, self._order = grid, order
        self._scales = np.broadcast_to(per_group(grid.scale, grid.group, weights.shape[1]), weights.shape).T[order]
        self._keep = None if keep is None else keep.T[order]
        self.target = np.ascontiguousarray(weights.T[order])
        self.levels = np.zeros(self.target.shape) if start is None else start.T[order].astype(np.float64)
        self.errors = self.target - self.levels * self._scales

    def write(self, column: int, wish: Array) -> None:
        """Give a column, counted in the order, the levels nearest to `wish`."""
        taken, scales = self.levels[column], self._scales[column]
        taken[:] = nearest_level(wish / scales, self._grid.levels)
        if self._keep is not None:
            taken *= self._keep[column]
        np.subtract(self.target[column], taken * scales, out=self.errors[column])

    def answer(self) -> Levels:
        """The levels in their own order: shape (rows, columns)."""
        levels = np.empty(self.levels.shape[::-1], np.int64)
        levels[:, self._order] = self.levels.T
        return levels


def _blocks(columns: int) -> Iterator[slice]:
    for begin in range(0, columns, BLOCK):
        yield slice(begin, min(begin + BLOCK, columns))
