"""Arithmetic: dense products, elementwise functions, reductions and norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from intact.graph.torch_operators.moves import whole

Attributes = Mapping[str, Any]
Function = Callable[..., Any]


def gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """alpha * x' @ weight' + beta * bias."""
    x = x.T if a.get("transA", 0) else x
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    if a.get("transB", 0) and alpha == beta == 1.0 and (bias is None or bias.ndim == 1):
        return functional.linear(x, weight, bias)
    product = alpha * (x @ (weight.T if a.get("transB", 0) else weight))
    return product if bias is None else product + beta * bias


def _reduce(function: Function) -> Function:
    """A reduction over the axes in the second input, or in the attribute of older spellings."""

    def reduce(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        over = whole(axes) or list(a.get("axes", ()))
        if not over and a.get("noop_with_empty_axes", 0):
            return x
        return function(x, dim=over or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))

    return reduce


def _log_sum_exp(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return torch.logsumexp(x, dim, keepdim)


def _squares(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(dim, keepdim)


def _length(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return torch.linalg.vector_norm(x, 2, dim, keepdim)


def softmax(a: Attributes, x: Tensor) -> Tensor:
    """Softmax along one axis."""
    return functional.softmax(x, dim=a.get("axis", -1))


def log_softmax(a: Attributes, x: Tensor) -> Tensor:
    """Logarithm of the softmax."""
    return functional.log_softmax(x, dim=a.get("axis", -1))


def layer_norm(a: Attributes, x: Tensor, gain: Tensor, shift: Tensor | None = None) -> Tensor:
    """Normalise over the last axes."""
    return functional.layer_norm(x, x.shape[a.get("axis", -1) :], gain, shift, a.get("epsilon", 1e-5))


def instance_norm(a: Attributes, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Normalise each channel of each row."""
    return functional.instance_norm(x, weight=gain, bias=shift, eps=a.get("epsilon", 1e-5))


def batch_norm(a: Attributes, x: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Normalise with stored statistics."""
    return functional.batch_norm(x, mean, variance, gain, shift, False, 0.0, a.get("epsilon", 1e-5))


def clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Clip to bounds, as min and max: the gradient at a bound is shared, never lost."""
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def gelu(a: Attributes, x: Tensor) -> Tensor:
    """GELU, exact or by tanh."""
    return functional.gelu(x, approximate=a.get("approximate", "none"))


def hard_sigmoid(a: Attributes, x: Tensor) -> Tensor:
    """max(0, min(1, alpha * x + beta))."""
    return (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0.0, 1.0)


def selu(a: Attributes, x: Tensor) -> Tensor:
    """SELU with its own constants."""
    alpha, gamma = a.get("alpha", 1.67326319217681884765625), a.get("gamma", 1.05070102214813232421875)
    return gamma * functional.elu(x, alpha)


def _fold(function: Function) -> Function:
    """A function of two tensors over any number of them."""

    def fold(a: Attributes, first: Tensor, *rest: Tensor) -> Tensor:
        for other in rest:
            first = function(first, other)
        return first

    return fold


def _plain(function: Function) -> Function:
    """A function without attributes."""
    return lambda a, *inputs: function(*inputs)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


PLAIN: dict[str, Function] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Div": _divide,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
}
"""Operators that mean the same in torch."""

FUNCTIONS: dict[str, Function] = {
    **{name: _plain(function) for name, function in PLAIN.items()},
    "BatchNormalization": batch_norm,
    "Celu": lambda a, x: functional.celu(x, a.get("alpha", 1.0)),
    "Clip": clip,
    "Elu": lambda a, x: functional.elu(x, a.get("alpha", 1.0)),
    "Gelu": gelu,
    "Gemm": gemm,
    "HardSigmoid": hard_sigmoid,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LeakyRelu": lambda a, x: functional.leaky_relu(x, a.get("alpha", 0.01)),
    "LogSoftmax": log_softmax,
    "Max": _fold(torch.maximum),
    "Min": _fold(torch.minimum),
    "ReduceL2": _reduce(_length),
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(_squares),
    "Selu": selu,
    "Softmax": softmax,
    "Sum": _fold(torch.add),
    "ThresholdedRelu": lambda a, x: torch.where(x > a.get("alpha", 1.0), x, torch.zeros_like(x)),
}
