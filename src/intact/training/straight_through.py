"""Rounding with a gradient: what the integer graph computes going forward, and a straight line going back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LN2 = math.log(2.0)


class Round(torch.autograd.Function):  # type: ignore[misc]
    """Round half to even; the gradient is that of the identity.

    Source:
        Bengio et al. 2013, arXiv:1308.3432, section 2 (the straight-through estimator).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Round."""
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Hand the gradient on."""
        return grad


class Quantize(torch.autograd.Function):  # type: ignore[misc]
    """step_out * clamp(round(x / step_in), low, high): a tensor through codes with one scale.

    The gradient to x is step_out / step_in wherever low - 1/2 < x / step_in < high + 1/2, which holds both end codes
    and what rounds to them, and zero beyond: at x = high * step_in it is not lost. The gradient to `log2_step`, the
    binary logarithm of both steps, is that of LSQ in the logarithm: d y / d log2 s = ln 2 * (y - x) inside, ln 2 * y
    outside.

    Source:
        Esser et al. 2020, arXiv:1902.08153, section 2.1; Jain et al. 2019, arXiv:1903.08066, section 3.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, log2_step: Tensor | None, step_in: float, step_out: float, low: float, high: float
    ) -> Tensor:
        """Quantize and read back; `log2_step` is only there for its gradient."""
        codes = x / step_in if step_in != step_out else x * (1.0 / step_in)
        result = codes.round_().clamp_(low, high).mul_(step_out)
        ctx.ends = ((low - 0.5) * step_in, (high + 0.5) * step_in)
        ctx.ratio = step_out / step_in
        ctx.save_for_backward(x, *(() if log2_step is None else (result,)))
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient where nothing saturates."""
        x, *result = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(grad, x, *ctx.ends)
        passed = inside if ctx.ratio == 1.0 else inside * ctx.ratio
        if not result:
            return passed, None, None, None, None, None
        slope = LN2 * (_dot(grad, result[0]) - _dot(passed, x))
        return passed, slope, None, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.float() * b.float()).sum()


class QuantizeWeights(torch.autograd.Function):  # type: ignore[misc]
    """scale * nearest level of (weights / scale), for scales that broadcast against the weights.

    The gradient to a weight passes wherever it lies within half a step of the end levels; the gradient to a scale is
    that of LSQ, divided by sqrt(values that share it * greatest level).

    Args of `apply`:
        weights: float32, shape (rows, groups, size).
        scale: Other than zero, shape (rows, groups, 1); below it where the levels are turned round.
        levels: Ascending whole numbers, float32, shape (L,).

    Source:
        Esser et al. 2020, arXiv:1902.08153, sections 2.1 and 2.2.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
        """Quantize and read back."""
        steps = weights / scale
        found = nearest_levels(steps, levels)
        inside = (steps > levels[0] - 0.5) & (steps < levels[-1] + 0.5)
        ctx.save_for_backward(inside, torch.where(inside, found - steps, found))
        ctx.share = 1.0 / math.sqrt(weights.shape[-1] * float(levels[-1]))
        return found * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Straight through inside the levels, and LSQ's gradient to the scale."""
        inside, slope = ctx.saved_tensors
        return grad * inside, (grad * slope).sum(-1, keepdim=True) * ctx.share, None


def nearest_levels(steps: Tensor, levels: Tensor) -> Tensor:
    """The member of `levels` (ascending whole numbers) nearest to each of `steps`, half to even between neighbours."""
    if float(levels[-1] - levels[0]) == len(levels) - 1:
        return steps.round().clamp(levels[0], levels[-1])
    return levels[torch.bucketize(steps, (levels[1:] + levels[:-1]) / 2)]
