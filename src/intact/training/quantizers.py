"""Fake quantization as torch modules: activations, and the weights and bias of one matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.compress.encodings import Encoding
from intact.compress.space import LARGEST, Grid
from intact.numbers import Affine
from intact.training.straight_through import Quantize, QuantizeWeights, Round, nearest_levels

Array = NDArray[Any]

REACH = 3
"""Octaves that a learned activation scale may move away from where calibration put it."""


class Activation(nn.Module):  # type: ignore[misc]
    """A tensor through its codes, read back in the graph's units.

    Args:
        encoding: Its code.
        power_of_two: Whether its scale must stay a power of two: its logarithm is then learned and rounded.
        learn: Whether the scale is learned.
        reads_factor: Whether the tensor comes in real units, as the float model has it; else in the graph's units.
    """

    def __init__(self, encoding: Encoding, *, power_of_two: bool, learn: bool, reads_factor: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._power_of_two = power_of_two
        zero = encoding.zero_point
        self._low, self._high = float(encoding.affine.qmin - zero), float(encoding.affine.qmax - zero)
        start = torch.tensor(float(np.log2(encoding.scale)))
        self._start = start.item()
        if learn:
            self.log2_step = nn.Parameter(start)
        else:
            self.register_buffer("log2_step", start)
        vector = reads_factor and bool(encoding.factor.ndim)
        inverse = torch.from_numpy((1.0 / encoding.factor).astype(np.float32)) if vector else None
        self.register_buffer("_inverse", inverse, persistent=False)
        self._ratio = float(encoding.factor) if reads_factor and not vector else 1.0

    @property
    def step(self) -> float:
        """The scale as it is now."""
        log2_step = self.log2_step.item()
        if not isinstance(self.log2_step, nn.Parameter):
            return self._encoding.scale
        log2_step = min(max(log2_step, self._start - REACH), self._start + REACH)
        return float(2.0 ** round(log2_step)) if self._power_of_two else float(np.float32(2.0**log2_step))

    def forward(self, x: Tensor) -> Tensor:
        """Quantize and read back, with a gradient."""
        x = x if self._inverse is None else x * self._inverse
        learned = self.log2_step if isinstance(self.log2_step, nn.Parameter) else None
        step = self.step
        step_in = float(np.float32(step * self._ratio))
        return Quantize.apply(x, learned, step_in, step, self._low, self._high)

    def encoding(self) -> Encoding:
        """The code as it is now."""
        affine = self._encoding.affine
        return Encoding(
            affine=Affine(scale=self.step, zero_point=affine.zero_point, bits=affine.bits), factor=self._encoding.factor
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What keeps the integers of a row in bounds: the least and greatest unit each may have, float64, shape (rows,)."""

    least: Array
    greatest: Array


class Product(nn.Module):  # type: ignore[misc]
    """The weights and the bias of one matrix product, as rows of output channels.

    Row r has a unit u[r], group g of its columns a whole multiplier m[r, g]; the scale u * m follows a learned scale
    2^`log2_scale` as closely as whole multipliers allow; the sign of a multiplier stays as it was. The bias goes
    through whole steps of the accumulator.

    Args:
        grid: Where the scales begin.
        columns: Of the weights.
        power_of_two: Whether units are powers of two.
        limits: Of the units.
        keep: Weights that may be other than zero: bool, shape (rows, columns); None for all.
        codes_bias: Whether the bias is written in steps of the accumulator.
        pinned: Whether the grid stays as it is, whatever `limits` say.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        columns: int,
        power_of_two: bool,
        limits: Limits,
        learn: bool,
        keep: Array | None = None,
        codes_bias: bool = True,
        pinned: bool = False,
    ) -> None:
        super().__init__()
        self._pinned = grid if pinned else None
        self._power_of_two, self._codes_bias = power_of_two, codes_bias
        self._group, self._columns = grid.group, columns
        self._most = LARGEST // int(np.abs(grid.levels).max())
        start = torch.from_numpy(np.log2(np.abs(grid.scale)).astype(np.float32))
        self.register_buffer("sign", torch.from_numpy(np.sign(grid.multipliers).astype(np.float32)), persistent=False)
        if learn:
            self.log2_scale = nn.Parameter(start)
        else:
            self.register_buffer("log2_scale", start)
        self.register_buffer("levels", torch.from_numpy(grid.levels.astype(np.float32)), persistent=False)
        self.register_buffer("keep", None if keep is None else torch.from_numpy(keep), persistent=False)
        self.register_buffer("least", _exponents(limits.least, up=True))
        self.register_buffer("greatest", _exponents(limits.greatest, up=False))

    def units(self) -> tuple[Tensor, Tensor]:
        """The unit of each row, (rows, 1), and the multiplier of each group, (rows, groups), as they are now."""
        if self._pinned is not None:
            multipliers = torch.from_numpy(self._pinned.multipliers.astype(np.float32))
            return torch.from_numpy(self._pinned.unit.astype(np.float32))[:, None], multipliers
        with torch.no_grad():
            wanted = self.log2_scale.double()
            row = wanted.amax(1, keepdim=True) - np.log2(self._most + 0.5)
            if self._power_of_two:
                exponent = torch.minimum(torch.maximum(row.ceil(), self.least[:, None]), self.greatest[:, None])
            else:
                exponent = torch.maximum(wanted.amax(1, keepdim=True) - np.log2(self._most), self.least[:, None])
            multipliers = torch.exp2(wanted - exponent).round().clamp(1, self._most)
            return torch.exp2(exponent).float(), multipliers.float() * self.sign

    def forward(self, weights: Tensor, bias: Tensor | None, step: float | None) -> tuple[Tensor, Tensor | None]:
        """Quantize rows of weights, and the bias for an input with the scale `step`, and read both back."""
        unit, multipliers = self.units()
        snapped = unit * multipliers
        scale = snapped
        if isinstance(self.log2_scale, nn.Parameter):  # the value is the snapped one, the slope that of 2^log2_scale
            scale = snapped * torch.exp2(self.log2_scale - self.log2_scale.detach())
        read = QuantizeWeights.apply(self._grouped(weights), scale[:, :, None], self.levels)
        rows = read.reshape(len(weights), -1)[:, : self._columns]
        if bias is None or step is None or not self._codes_bias:
            return rows, bias
        accumulator = unit[:, 0] * step
        return rows, Round.apply(bias / accumulator) * accumulator

    def integers(self, weights: Tensor) -> tuple[NDArray[np.int8], Array]:
        """The integers that run, shape (rows, columns), and the unit of each row: what `forward` read back."""
        with torch.no_grad():
            unit, multipliers = self.units()
            steps = self._grouped(weights) / (unit * multipliers)[:, :, None]
            found = nearest_levels(steps, self.levels) * multipliers[:, :, None]
            rows = found.reshape(len(weights), -1)[:, : self._columns]
        return rows.to(torch.int8).numpy(), unit[:, 0].numpy().astype(np.float64)

    def bias_steps(self, bias: Tensor, step: float) -> NDArray[np.int64]:
        """The bias in whole steps of the accumulator."""
        unit, _ = self.units()
        steps: NDArray[np.int64] = (bias.detach() / (unit[:, 0] * step)).round().to(torch.int64).numpy()
        return steps

    def coarsen(self, rows: NDArray[np.bool_]) -> None:
        """Make the units of some rows at least twice what they are."""
        assert self._pinned is None  # nothing is left to choose
        unit, _ = self.units()
        with torch.no_grad():
            wanted = torch.from_numpy(rows)
            self.least[wanted] = torch.log2(unit[wanted, 0].double()) + 1.0

    def _grouped(self, weights: Tensor) -> Tensor:
        kept = weights if self.keep is None else weights * self.keep
        missing = -self._columns % self._group
        padded = nn.functional.pad(kept, (0, missing)) if missing else kept
        return padded.reshape(len(weights), -1, self._group)


def _exponents(values: Array, *, up: bool) -> Tensor:
    exponents = np.log2(values)
    return torch.from_numpy(np.asarray(np.ceil(exponents) if up else np.floor(exponents), np.float64))
