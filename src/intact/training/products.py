"""One matrix product in fake quantization: where its weights lie, what bounds them, what integers they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intact.compress.operators import MOST_LEFT, MOST_SHIFT
from intact.compress.plan import Plan, Step
from intact.compress.shapes import shape
from intact.compress.solve import Layer, Solution
from intact.compress.space import SMALLEST, Grid, Space
from intact.errors import DataError, ModelError
from intact.graph.change import constant_operand
from intact.graph.differentiable import Differentiable
from intact.graph.view import Graph, Node
from intact.numbers import Affine, Codes, budget
from intact.training.quantizers import Limits, Product

Array = NDArray[Any]

UNBOUNDED = 2.0**100
MOST_DOUBLINGS = 64


class FakeLayer(nn.Module):  # type: ignore[misc]
    """A layer of a plan: its constants in the float graph, and the fake quantizer of their rows.

    Args:
        plan: The plan.
        step: The layer's step in it.
        layer: Its rounding problem as calibration left it.
        keep: Weights that may be other than zero, shape (rows, columns); None for all.
        learn: Whether its scales are learned.
        grid: Its scales, where they are to stay as they are.
    """

    def __init__(
        self, plan: Plan, step: Step, layer: Layer, *, keep: Array | None, learn: bool, grid: Grid | None = None
    ) -> None:
        super().__init__()
        assert step.recipe is not None  # layers have settings
        self.name, self._node, self._bits = step.layer, step.nodes[0], int(step.recipe.weights)
        self.weight, self.bias = _constants_of(plan.graph, step)
        self._static, self._codes_bias = layer.source is not None, layer.codes_bias
        scalar = layer.source is not None and layer.source.factor.ndim == 0 and float(layer.source.factor) == 1.0
        factor = None if layer.source is None or scalar else torch.from_numpy(np.array(layer.source.factor))
        self.register_buffer("_factor", factor, persistent=False)
        weights = layer.weights.astype(np.float64)
        limits = _limits(layer)
        self._shape = plan.graph.constants[self.weight].shape
        self.product = Product(
            _fitted(layer, step, weights if keep is None else weights * keep, limits) if grid is None else grid,
            columns=weights.shape[1],
            power_of_two=layer.power_of_two,
            limits=limits,
            learn=learn,
            keep=keep,
            codes_bias=layer.codes_bias and self._static,
            pinned=grid is not None,
        )

    def forward(self, net: Differentiable, step: float | None) -> dict[str, Tensor]:
        """The constants of the layer as the integer graph has them, for an input whose codes have the scale `step`."""
        return self.read(*self._rows(net), step)

    def read(self, rows: Tensor, bias: Tensor | None, step: float | None) -> dict[str, Tensor]:
        """The same for other rows of weights, in the units of the graph, and another bias."""
        read, offset = self.product(rows, bias, step)
        now = {self.weight: read.T if self._node.op == "MatMul" else read.reshape(self._shape)}
        return now if offset is None else now | {self.bias: offset}

    def solution(self, net: Differentiable, layer: Layer) -> Solution:
        """The integers of `layer`, the problem as training leaves it; rows whose sums would not fit become coarser.

        Raises:
            DataError: A weight or the bias has become NaN or infinite.
            ModelError: The bias alone is out of reach, whatever the scale.
        """
        rows, bias = self._rows(net)
        if not all(torch.isfinite(each).all() for each in (rows, bias) if each is not None):
            raise DataError(f"the weights of layer '{self.name}' became NaN or infinite", hint="train at a lower rate")
        for _ in range(MOST_DOUBLINGS):
            found = self.integers(rows, bias, layer)
            over = overflows(layer, found)
            if not over.any():
                return found
            self.product.coarsen(over)
        raise ModelError(f"layer '{self.name}' has a bias that no scale can hold beside its weights")

    def integers(self, rows: Tensor, bias: Tensor | None, layer: Layer) -> Solution:
        """What `read` reads, as integers; the error is that beside the weights of `layer`. Sums may not fit."""
        integers, unit = self.product.integers(rows)
        coded = bias is not None and layer.source is not None and self._codes_bias
        steps = self.product.bias_steps(bias, layer.source.scale) if coded and layer.source is not None else None
        weights = layer.weights.astype(np.float64)
        error = float(np.mean(np.square(integers * unit[:, None] - weights)))
        return Solution(
            codes=Codes(q=integers, encoding=Affine(scale=unit, bits=8, signed=True, axis=0, narrow=True)),
            bias=None if steps is None else np.clip(steps, -(2**31) + 1, 2**31 - 1).astype(np.int32),
            real_bias=None if bias is None else bias.detach().numpy().astype(np.float32),
            bits=self._bits,
            error=error / max(float(np.mean(np.square(weights))), SMALLEST**2),
        )

    def _rows(self, net: Differentiable) -> tuple[Tensor, Tensor | None]:
        """The float weights as rows of output channels, times the factor of the input's codes, and the float bias."""
        weight = net.constant(self.weight)
        rows = weight.T if self._node.op == "MatMul" else weight.reshape(len(weight), -1)
        rows = rows if self._factor is None else rows * self._factor
        bias = net.constant(self.bias).reshape(-1).expand(len(rows)) if self.bias else None
        return rows, bias


def _constants_of(graph: Graph, step: Step) -> tuple[str, str]:
    """The names of a layer's weight and bias; the latter is empty without one."""
    node: Node = step.nodes[0]
    if len(node.inputs) > 2 and node.inputs[2]:
        return node.inputs[1], node.inputs[2]
    if len(step.nodes) > 1 and step.nodes[1].op == "Add":
        return node.inputs[1], str(constant_operand(graph, step.nodes[1]))
    return node.inputs[1], ""


def _fitted(layer: Layer, step: Step, weights: Array, limits: Limits) -> Grid:
    assert step.recipe is not None  # layers have settings
    levels = shape(step.recipe.codes).levels(layer.weights.astype(np.float64), int(step.recipe.weights), None)
    floor = np.array(limits.least)
    space = Space(levels=levels, group=step.recipe.group, power_of_two=layer.power_of_two, floor=floor)
    return space.fit(weights)


def _limits(layer: Layer) -> Limits:
    """The units within which docs/spec/integer-graph.md, section 4, holds for a layer's output codes and its bias."""
    rows = len(layer.weights)
    least, greatest = np.full(rows, SMALLEST), np.full(rows, UNBOUNDED)
    if layer.source is None:
        return Limits(least=least, greatest=greatest)
    if layer.bias is not None and layer.codes_bias:
        bits = budget.FLOAT32_BITS - 1 if layer.power_of_two else 30
        least = np.maximum(least, np.abs(layer.bias.astype(np.float64)) / layer.source.scale * 2.0**-bits)
    if layer.power_of_two and layer.target is not None:
        greatest[:] = layer.target.scale / layer.source.scale * 2.0**MOST_LEFT
        if layer.target.zero_point:
            least = np.maximum(least, layer.target.scale / layer.source.scale * 2.0**-MOST_SHIFT)
    return Limits(least=least, greatest=np.maximum(least, greatest))


def overflows(layer: Layer, found: Solution) -> NDArray[np.bool_]:
    """Per row, whether its sums might leave what holds them: float32's integers, or 32 bits in the tolerant profile."""
    source = Affine(scale=1.0, zero_point=128) if layer.source is None else layer.source.affine
    bias = np.zeros(len(found.codes.q), np.int64) if found.bias is None else found.bias.astype(np.int64)
    bits = budget.FLOAT32_BITS if layer.power_of_two else 31
    return np.asarray(budget.accumulator(found.codes.q, source, bias) >= 2**bits)
