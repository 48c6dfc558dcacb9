"""Float weights behind the integers of one layer, in steps of the grid that the integers stay on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.compress.solve import Layer, Solution
from intact.compress.space import Grid
from intact.training.products import FakeLayer, overflows

Array = NDArray[Any]

NEAREST_EDGE = 0.45
"""How near to the edge between two levels a weight may begin, in distances between levels."""
TYPICAL_CODE = 64.0
"""About what a code of the input is worth, in its own scale."""


class Latent(nn.Module):  # type: ignore[misc]
    """A layer whose integers are to be learned: parameters that round to them.

    Each weight begins in the cell of the integer that it has, as near to its float value as the cell allows.

    Args:
        fake: The layer in fake quantization, on the grid of `solution`.
        problem: The layer as calibration left it: its float weights, and the codes around it.
        solution: Its integers so far; later, the best that were found.
        input_step: Scale of the codes that it reads; None where they have none of their own.
    """

    def __init__(self, fake: FakeLayer, problem: Layer, solution: Solution, input_step: float | None) -> None:
        super().__init__()
        assert solution.grid is not None  # the caller refuses what was trained
        self.name, self.solution = fake.name, solution
        self._fake, self._problem, self._input_step = fake, problem, input_step
        grid = solution.grid
        scales = np.broadcast_to(grid.column_scales(problem.weights.shape[1]), problem.weights.shape)
        self._scale = _tensor(scales)
        self.steps = nn.Parameter(_tensor(_beginning(solution, grid, problem.weights / scales)))
        bias = _bias_of(solution, problem)
        self._start = None if bias is None else _tensor(bias)
        self._reach = _tensor(_reach(problem))
        self.shift = None if bias is None else nn.Parameter(torch.zeros(len(bias)))
        self._before = solution

    def now(self) -> dict[str, Tensor]:
        """The constants of the layer as the float graph is to read them, with gradients to the parameters."""
        return self._fake.read(self.steps * self._scale, self._bias(), self._input_step)

    def held(self) -> dict[str, Tensor]:
        """The same for the integers of `solution`."""
        rows = _tensor(self.solution.codes.q * self.solution.codes.encoding.scale[:, None])
        bias = _bias_of(self.solution, self._problem)
        return self._fake.read(rows, None if bias is None else _tensor(bias), self._input_step)

    def settle(self) -> None:
        """Make `solution` what the parameters round to, but for rows whose sums would not fit: they stay."""
        with torch.no_grad():
            found = self._fake.integers(self.steps * self._scale, self._bias(), self._problem)
        over = overflows(self._problem, found)
        self._before = self.solution
        self.solution = replace(_mixed(found, self.solution, over), grid=self.solution.grid)

    def decide(self, *, better: bool) -> None:
        """Keep what `settle` found, or go back to what was there before."""
        if not better:
            self.solution = self._before

    def _bias(self) -> Tensor | None:
        if self._start is None or self.shift is None:
            return None
        return self._start + self._reach * self.shift


def _beginning(solution: Solution, grid: Grid, wanted: Array) -> Array:
    """Where the weights begin, in steps of the grid; `wanted` is where the float weights are."""
    scales = grid.column_scales(wanted.shape[1])
    levels = np.rint(solution.codes.q * grid.unit[:, None] / scales).astype(np.int64)
    gaps = np.diff(grid.levels, prepend=grid.levels[0] - 1, append=grid.levels[-1] + 1)
    at = np.searchsorted(grid.levels, levels)
    return np.asarray(levels + np.clip(wanted - levels, -NEAREST_EDGE * gaps[at], NEAREST_EDGE * gaps[at + 1]))


def _bias_of(solution: Solution, problem: Layer) -> Array | None:
    """The bias that an answer has in the graph: float64, or None."""
    if solution.bias is None or problem.source is None:
        return solution.real_bias
    return np.asarray(solution.bias * (solution.codes.encoding.scale.astype(np.float64) * problem.source.scale))


def _reach(problem: Layer) -> Array:
    """A typical size of each output: shape (rows,)."""
    size = 1.0 if problem.source is None else problem.source.scale * TYPICAL_CODE
    return np.asarray(np.linalg.norm(problem.weights, axis=1) * size)


def _mixed(found: Solution, before: Solution, back: NDArray[np.bool_]) -> Solution:
    """`found`, but the rows marked in `back` as they were before."""
    q = np.where(back[:, None], before.codes.q, found.codes.q)
    biases = [
        None if new is None or old is None else np.where(back, old, new)
        for new, old in ((found.bias, before.bias), (found.real_bias, before.real_bias))
    ]
    return replace(found, codes=replace(found.codes, q=q), bias=biases[0], real_bias=biases[1])


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
