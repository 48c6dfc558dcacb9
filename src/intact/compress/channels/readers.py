"""What a product loses when channels of its input go, and the weights that lose least."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.channels.wiring import FIXED, Wiring
from intact.compress.moments import Geometry
from intact.compress.weights import rows_of, stored
from intact.errors import ModelError
from intact.graph.cut import upto
from intact.graph.run import Runner, batches
from intact.graph.view import Node

Array = NDArray[Any]
Feeds = Mapping[str, Array]

DAMPING = 0.01
"""Added to the diagonal of H, as a share of its mean."""
MOST_ROWS = 1 << 14
"""Rows of a product's inputs that are looked at, spread evenly over the data."""
MOST_COLUMNS = 4608
"""Products with more columns than this are not fitted anew: their second moments would not fit in memory."""
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A product as it fits its weights to the input channels that are left.

    Args:
        weights: Of least output error, zero where a channel has gone; the last column is the bias where `biased`.
            float64, shape (rows, columns).
        inverse: Inverse of the damped second moments of the columns that are left; zero elsewhere.
        units: The unit of each column; `FIXED` for the bias.
        energy: Mean square of the float output about its mean, summed over the rows.
        biased: Whether the last column is a constant one.
    """

    weights: Array
    inverse: Array
    units: NDArray[np.int64]
    energy: float
    biased: bool

    @cached_property
    def columns(self) -> Mapping[int, NDArray[np.int64]]:
        """The columns of each unit."""
        order = np.argsort(self.units, kind="stable")
        names, starts = np.unique(self.units[order], return_index=True)
        parts = np.split(order, starts[1:])
        return {int(name): part for name, part in zip(names, parts, strict=True) if name != FIXED}

    def losses(self, units: Sequence[int]) -> Array:
        """What the output's mean square error grows by, over its energy, if one of `units` goes: shape (units,)."""
        found = np.zeros(len(units))
        read = [(place, self.columns[unit]) for place, unit in enumerate(units) if unit in self.columns]
        if not read:
            return found
        blocks = np.stack([columns for _, columns in read])  # (units, k)
        inverses = self.inverse[blocks[:, :, None], blocks[:, None, :]]
        weights = self.weights[:, blocks].transpose(1, 2, 0)  # (units, k, rows)
        found[[place for place, _ in read]] = (weights * np.linalg.solve(inverses, weights)).sum(axis=(1, 2))
        return found / self.energy

    def without(self, unit: int) -> Reader:
        """The product without a unit, the rest of its weights of least error.

        Source:
            Hassibi & Stork 1992 (optimal brain surgeon), for a block of columns; the reconstruction that
            He et al. 2017, arXiv:1707.06168, section 3.1, do by regression.
        """
        if unit not in self.columns:
            return self
        gone = self.columns[unit]
        across = np.linalg.solve(self.inverse[np.ix_(gone, gone)], self.inverse[gone])  # (k, columns)
        weights = self.weights - self.weights[:, gone] @ across
        inverse = self.inverse - self.inverse[:, gone] @ across
        weights[:, gone], inverse[gone], inverse[:, gone] = 0.0, 0.0, 0.0
        return Reader(weights=weights, inverse=inverse, units=self.units, energy=self.energy, biased=self.biased)

    def constants(self, wiring: Wiring, node: Node) -> dict[str, Array]:
        """The weight and bias of `node`, of its own shapes, as they are now."""
        shape = wiring.graph.constants[node.inputs[1]].shape
        rows = self.weights[:, :-1] if self.biased else self.weights
        found = {node.inputs[1]: stored(rows.astype(np.float32), node, shape)}
        if self.biased:
            found[node.inputs[2]] = self.weights[:, -1].astype(np.float32)
        return found


def make_readers(wiring: Wiring, nodes: Collection[Node], pieces: Sequence[Feeds]) -> dict[str, Reader]:
    """Run the graph on `pieces` and return the products by their output, none of them with a channel gone."""
    geometries = {node.output: _geometry(wiring, node) for node in nodes}
    sums = {node.output: np.zeros((geometries[node.output].columns + 1,) * 2) for node in nodes}
    inputs = {port.name for port in wiring.graph.inputs}
    names = tuple(dict.fromkeys(node.inputs[0] for node in nodes if node.inputs[0] not in inputs))
    runner = Runner(upto(wiring.graph, names), fetch=names)
    parts = [part for piece in pieces for part in batches(piece, BATCH)]
    most, counts = -(-MOST_ROWS // len(parts)), dict.fromkeys(sums, 0)
    for part in parts:
        values = {**part, **runner(part)}
        for node in nodes:
            rows = geometries[node.output].rows(values[node.inputs[0]], most)[0]
            ones = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
            sums[node.output] += ones.T @ ones
            counts[node.output] += len(rows)
    return {node.output: _reader(wiring, node, sums[node.output] / counts[node.output]) for node in nodes}


def _geometry(wiring: Wiring, node: Node) -> Geometry:
    found = Geometry.of(node, wiring.graph.constants[node.inputs[1]].shape)
    if found is None:
        raise ModelError(
            f"convolution '{node.output}' pads by itself (auto_pad), so its inputs cannot be looked at",
            hint="export the model with explicit pads",
        )
    return found


def _reader(wiring: Wiring, node: Node, gram: Array) -> Reader:
    """The product as it is, `gram` being of its columns and a one behind them."""
    rows = rows_of(wiring.graph, node).astype(np.float64)
    ids = wiring.units(node.inputs[0])
    assert ids is not None  # readers read units
    units = np.repeat(ids, rows.shape[1] // len(ids))
    biased = len(node.inputs) > 2 and bool(node.inputs[2])
    mean = gram[:-1, -1]
    centred = gram[:-1, :-1] - np.outer(mean, mean) if biased else gram[:-1, :-1]
    energy = float(np.einsum("rk,rk->", rows @ centred, rows))
    damping = DAMPING * float(np.diag(gram)[:-1].mean()) or 1.0
    damped = gram + damping * np.diag(np.append(np.ones(rows.shape[1]), 0.0))
    if biased:
        rows = np.column_stack([rows, wiring.graph.constants[node.inputs[2]].astype(np.float64)])
        units = np.append(units, FIXED)
    inverse = np.linalg.inv(damped if biased else damped[:-1, :-1])
    return Reader(weights=rows, inverse=inverse, units=units, energy=max(energy, 1e-30), biased=biased)
