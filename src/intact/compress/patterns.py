"""Which weights may become zero together: the shape of sparsity, apart from the way in which weights are judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError

Array = NDArray[Any]
Keep = NDArray[np.bool_]
Kind = Literal["unstructured", "rows", "N:M", "block"]

KNOWN = "unstructured, rows, N:M such as 2:4, block:B such as block:8"
MOST_NEIGHBOURS = 64
WIDTH = 128
"""Columns whose weights are judged together where a choice is made from left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A shape of sparsity.

    Weights compete for their places within a cell; what wins or loses there is a unit of neighbours in a row.

    Args:
        kind: "unstructured": the layer is one cell; "rows": each row is; "N:M": each run of M neighbours along
            the input columns is, and keeps at most N; "block": the layer is one cell whose units are runs of B
            neighbours, the form that a bitmap of blocks stores best.
        kept: N.
        size: M, or B; 1 elsewhere.
    """

    kind: Kind
    kept: int = 0
    size: int = 1

    def __str__(self) -> str:
        """The pattern as a recipe spells it."""
        return {"N:M": f"{self.kept}:{self.size}", "block": f"block:{self.size}"}.get(self.kind, self.kind)

    @property
    def width(self) -> int:
        """Columns to judge at once where a choice is made from left to right: whole cells or units."""
        return self.size if self.kind == "N:M" else max(self.size, WIDTH // self.size * self.size)

    def refuse_share(self, share: float) -> None:
        """Raise UsageError where zeros to the amount of `share` contradict the pattern."""
        if not 0.0 <= share < 1.0:
            raise UsageError(f"sparsity is {share}, not in [0, 1)")
        wanted = 1.0 - self.kept / self.size
        if self.kind == "N:M" and abs(share - wanted) > 1e-6:
            raise UsageError(
                f"sparsity {share:g} contradicts pattern '{self}', which sets {wanted:g} of the weights to zero",
                hint=f'set sparsity = {wanted:g}, or pattern = "unstructured"',
            )

    def refuse_columns(self, columns: int) -> None:
        """Raise UsageError where rows of `columns` weights do not divide into the pattern's runs."""
        if columns % self.size:
            raise UsageError(
                f"pattern '{self}' needs runs of {self.size} columns, and {columns} columns do not divide into them",
                hint='give this layer pattern = "unstructured", or sparsity = 0 with it',
            )

    def zeros(self, shape: tuple[int, int], share: float) -> int:
        """How many of the weights of a matrix of `shape` become zero: `share` of each cell's units, half rounded up."""
        cells, units, size = self._cut(np.empty(shape)).shape
        return int(cells * self._losers(units, share) * size)

    def choose(self, scores: Array, share: float) -> Keep:
        """Keep what scores most.

        Args:
            scores: What it costs to lose each weight: finite, float64 >= 0, shape (rows, columns).
            share: Of each cell that becomes zero.

        Returns:
            Which weights stay; `zeros(...)` do not. The first of equals go.

        Raises:
            UsageError: The share contradicts the pattern, or the columns do not divide.
        """
        self.refuse_share(share)
        self.refuse_columns(scores.shape[1])
        cells = self._cut(scores)
        return self._keep(cells, np.full(len(cells), self._losers(cells.shape[1], share))).reshape(scores.shape)

    def choose_like(self, scores: Array, example: Keep) -> Keep:
        """Keep what scores most, in each cell as many as `example` does; both of the same whole cells or units."""
        cells = self._cut(scores)
        losers = (~self._cut(example)).all(axis=2).sum(axis=1)
        return self._keep(cells, losers).reshape(scores.shape)

    def _losers(self, units: int, share: float) -> int:
        return units - self.kept if self.kind == "N:M" else int(np.floor(share * units + 0.5))

    def _cut(self, values: Array) -> Array:
        """A matrix as (cells, units, weights of a unit)."""
        if self.kind == "unstructured":
            return values.reshape(1, -1, 1)
        if self.kind == "rows":
            return values[:, :, None]
        return values.reshape(-1, self.size, 1) if self.kind == "N:M" else values.reshape(1, -1, self.size)

    def _keep(self, cells: Array, losers: NDArray[np.int64]) -> Keep:
        order = np.argsort(cells.sum(axis=2), axis=1, kind="stable")
        places = np.empty_like(order)
        np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
        return np.broadcast_to((places >= losers[:, None])[:, :, None], cells.shape)


def pattern(text: str) -> Pattern:
    """Read a pattern as a recipe spells it.

    Raises:
        UsageError: No such pattern; N is not below M, or either is out of range.
    """
    if text in ("unstructured", "rows"):
        return Pattern(kind="unstructured" if text == "unstructured" else "rows")
    found = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", text)
    if found:
        return _n_of_m(text, int(found[1]), int(found[2]))
    found = re.fullmatch(r"block:([0-9]{1,4})", text)
    if found is None:
        raise UsageError(f"pattern is '{text}', which is none", hint=f"known patterns: {KNOWN}")
    size = int(found[1])
    if not 2 <= size <= MOST_NEIGHBOURS:
        raise UsageError(f"pattern '{text}' has blocks of {size} weights, not 2 to {MOST_NEIGHBOURS}")
    return Pattern(kind="block", size=size)


def _n_of_m(text: str, kept: int, size: int) -> Pattern:
    if not 2 <= size <= MOST_NEIGHBOURS:
        raise UsageError(f"pattern '{text}' has runs of {size} weights, not 2 to {MOST_NEIGHBOURS}")
    if not 1 <= kept < size:
        raise UsageError(
            f"pattern '{text}' keeps {kept} of {size} weights, not 1 to {size - 1}",
            hint="N:M keeps N of each M neighbours, such as 2:4",
        )
    return Pattern(kind="N:M", kept=kept, size=size)
