"""Levels found among the weights themselves, those that matter more drawing them closer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.compress.shapes import LARGEST, Array, Shape, nf4

TURNS = 6
"""Times that rows are scaled anew to fit the centres."""
ROUNDS = 25
SAMPLE = 2**17
"""About how many weights are looked at, by whole rows spread evenly."""
SMALL = np.finfo(np.float64).tiny


def levels(weights: Array, bits: int, importance: Array | None, largest: int = LARGEST) -> NDArray[np.int64]:
    """The centres of 2^bits clusters of the weights, each row by a scale of its own, one centre held at zero.

    A weight counts by the importance of its column and by its row's scale, as it does in the layer's output. Centres
    start as NormalFloat, either way round, and nothing is drawn.

    Source:
        Lloyd 1982, IEEE Transactions on Information Theory 28(2), on one dimension; Kim et al. 2023, arXiv:2306.07629,
        section 4.1, for the sensitivities.
    """
    counts = np.ones(weights.shape[1]) if importance is None else importance
    some = weights[:: max(1, weights.size // SAMPLE)]
    start = nf4.levels(weights, bits, None) / LARGEST
    found = [_clusters(some, counts, centres) for centres in (start, -start[::-1])]
    centres = min(found, key=lambda each: each[0])[1]
    return np.unique(np.rint(centres / np.abs(centres).max() * largest).astype(np.int64))


def _clusters(weights: Array, counts: Array, centres: Array) -> tuple[float, Array]:
    """Weighted squared error and centres, from where they start."""
    scale = np.maximum(np.abs(weights).max(axis=1, keepdims=True), SMALL)
    for _ in range(TURNS):
        centres = _lloyd((weights / scale).ravel(), (np.square(scale) * counts).ravel(), centres)
        scale = _fitted(weights, counts, centres, scale)
    return float((np.square(weights - scale * _taken(weights / scale, centres)) @ counts).sum()), centres


def _taken(values: Array, centres: Array) -> Array:
    return np.asarray(centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, values)])


def _lloyd(values: Array, masses: Array, centres: Array) -> Array:
    """Centres moved to the means of what lies nearest to them, the one at zero held there."""
    order = np.argsort(values, kind="stable")
    values, masses = values[order], masses[order]
    mass = np.concatenate([[0.0], np.cumsum(masses)])
    moment = np.concatenate([[0.0], np.cumsum(masses * values)])
    for _ in range(ROUNDS):
        ends = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        bounds = np.concatenate([[0], ends, [len(values)]])
        weight, sums = np.diff(mass[bounds]), np.diff(moment[bounds])
        means = np.divide(sums, weight, out=centres.copy(), where=weight > SMALL)
        centres = np.sort(np.where(centres == 0, 0.0, means))
    return centres


def _fitted(weights: Array, counts: Array, centres: Array, scale: Array) -> Array:
    """The scale of each row of least weighted squared error, weights held to their centres: shape (rows, 1)."""
    taken = _taken(weights / scale, centres)
    power = (np.square(taken) * counts).sum(axis=1, keepdims=True)
    along = (taken * weights * counts).sum(axis=1, keepdims=True)
    fitted = np.divide(along, power, out=scale.copy(), where=power > SMALL)
    return np.where(fitted > SMALL, fitted, scale)


SHAPE = Shape(name="kmeans", levels=levels)
