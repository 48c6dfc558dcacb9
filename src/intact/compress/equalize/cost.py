"""Where rounding brings noise into a graph, and how much of it for given factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.equalize.fold import columns
from intact.compress.equalize.measure import Seen
from intact.graph.view import Node

Array = NDArray[Any]

MOST_WEIGHTS = 1 << 18
"""Of a product with more weights than this, `MOST_ROWS` rows are looked at."""
MOST_ROWS = 128
TINY = 1e-30
GRID = 8
"""Steps tried between one power of two and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """A place where a tensor is rounded to codes.

    Args:
        tensor: What is rounded.
        levels: The number of codes.
        worth: What the noise of rounding in each channel is worth, shape (C,).
        clipped: What that of clipping is worth, which is the same wherever a feature is strong: it never averages out.
        reader: The product that alone reads these codes; None where everybody does.
    """

    tensor: str
    levels: int
    worth: Array
    clipped: Array
    reader: Node | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A product whose weights are rounded.

    Args:
        tensor: What it reads.
        output: What it makes.
        node: The product.
        weight: Some of its rows, float64, in the operator's own layout.
        bits: Of the codes.
        worth: What noise in each of these rows' outputs is worth, shape (rows,).
        power: Mean square of each channel of what it reads.
        kept: Which rows these are.
    """

    tensor: str
    output: str
    node: Node
    weight: Array
    bits: int
    worth: Array
    power: Array
    kept: Array


@dataclass(frozen=True, kw_only=True)
class Table:
    """The mean squared errors of the channels of a tensor for every step 2^((first + j) / GRID).

    Args:
        first: Of the least step.
        rounding: Of the values inside of the range of the codes, as a share of all: shape (C, steps).
        clipping: Of those outside.
    """

    first: int
    rounding: Array
    clipping: Array

    def at(self, steps: Array) -> tuple[Array, Array]:
        """The errors of all channels for one step each, given in units of the table, from its start on."""
        inside = np.clip(steps, 0, self.rounding.shape[1] - 1)
        rows = np.arange(len(steps))
        return self.rounding[rows, inside], self.clipping[rows, inside]


def tabulate(seen: Seen, levels: int) -> Table:
    """Round a tensor's channels with every step from one that clips nearly all to one that clips nothing."""
    low, high = np.minimum(seen.low, 0.0), np.maximum(seen.high, 0.0)
    reach = np.maximum((high - low) / (levels - 1), TINY)
    below = -low.min() / max(float((high - low).max()), TINY) if (low < 0).any() else 0.0
    first = int(np.floor(np.log2(reach[reach > TINY].min()))) - 4 if (reach > TINY).any() else 0
    last = int(np.ceil(np.log2(reach.max()))) + 4 if (reach > TINY).any() else 1
    steps = np.exp2(np.arange(first * GRID, last * GRID) / GRID)
    zero = round((levels - 1) * below)
    errors = [_error(seen.sample, step, zero, levels) for step in steps.astype(np.float32)]
    rounding, clipping = (np.stack(each, axis=1) for each in zip(*errors, strict=True))
    return Table(first=first * GRID, rounding=rounding, clipping=clipping)


def _error(values: Array, step: Any, zero: int, levels: int) -> tuple[Array, Array]:
    scaled = values / step
    rounded = np.rint(scaled)
    outside = (rounded < -zero) | (rounded > levels - 1 - zero)
    np.clip(rounded, -zero, levels - 1 - zero, out=rounded)
    rounded -= scaled
    np.square(rounded, out=rounded)
    square = float(step) ** 2
    total = rounded.mean(axis=1, dtype=np.float64) * square
    clipped = np.where(outside, rounded, 0.0).mean(axis=1, dtype=np.float64) * square
    return total - clipped, clipped


def weight_steps(product: Weights, read: Array, made: Array, *, power_of_two: bool) -> Array:
    """The best step for each row of a weight times `read` over `made`, in units of the weight times `read`: (rows, 1).

    Args:
        product: The weight.
        read: Factors of the channels that it reads.
        made: Those of its rows' outputs.
        power_of_two: Whether 8-bit weights have scales that are.
    """
    rows, gains = _rows(product, read)
    limit = 2 ** (product.bits - 1) - 1
    top = np.maximum(np.abs(rows).max(axis=1, keepdims=True), TINY) / limit
    shares: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7)
    if power_of_two and product.bits == 8:  # narrower ones have multipliers, which fit nearly any scale
        top = np.exp2(np.ceil(np.log2(top / made[:, None]))) * made[:, None]
        shares = (1.0, 0.5)
    errors = [_errors(rows, gains, top * share, limit).sum(axis=1) for share in shares]
    return np.asarray(top * np.asarray(shares)[np.argmin(errors, axis=0)][:, None])


def weight_errors(product: Weights, read: Array, steps: Array) -> Array:
    """What rounding each weight to its row's step is worth: shape (rows, columns), as the operator lays them."""
    rows, gains = _rows(product, read)
    return _errors(rows, gains, steps, 2 ** (product.bits - 1) - 1) * product.worth[:, None]


def _rows(product: Weights, read: Array) -> tuple[Array, Array]:
    """The weights times the factors of what they read, and what their errors are worth, as rows."""
    weight, node = product.weight, product.node
    scaled = weight * columns(weight, node, read)
    gains = np.broadcast_to(columns(weight, node, product.power / np.square(read)), weight.shape)
    if node.op == "MatMul":
        return scaled.T, gains.T
    return scaled.reshape(len(scaled), -1), gains.reshape(len(scaled), -1)


def _errors(rows: Array, gains: Array, steps: Array, limit: int) -> Array:
    rounded = rows / steps
    np.rint(rounded, out=rounded)
    np.clip(rounded, -limit, limit, out=rounded)
    rounded *= steps
    rounded -= rows
    return np.asarray(np.square(rounded) * gains)


def by_channel(product: Weights, errors: Array, channels: int) -> Array:
    """Errors of weights added up for each channel that they read, or all together where there is but one."""
    if channels == 1:
        return np.asarray([errors.sum()])
    if product.node.op == "MatMul":
        return np.asarray(errors.sum(axis=0))
    group = int(product.node.attributes.get("group", 1))
    parts = errors.reshape(group, len(errors) // group, channels // group, -1)
    return np.asarray(parts.sum(axis=(1, 3)).reshape(-1))


def some_rows(weight: Array, node: Node) -> tuple[Array, Array]:
    """A weight in float64, of a large one some rows, from every group of a convolution alike; and which."""
    axis = 1 if node.op == "MatMul" else 0
    group = int(node.attributes.get("group", 1))
    each = np.arange(weight.shape[axis]).reshape(group, -1)
    most = each.shape[1] if weight.size <= MOST_WEIGHTS else max(1, MOST_ROWS // group)
    kept = each[:, :: -(-each.shape[1] // most)].reshape(-1)
    return np.take(weight, kept, axis=axis).astype(np.float64), kept
