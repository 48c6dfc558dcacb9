"""Scales that fit most weights closely and let a few go far, found without any data."""

from __future__ import annotations

import numpy as np

from intact.compress.methods import Array, Method, Problem, Rounded
from intact.compress.space import SMALLEST, nearest_level

NORM = 0.7
"""The p of the l_p norm that the residual should have little of; below one, so that outliers are worth letting go."""
SHARPNESS = 10.0
"""What a residual weighs against its sparse copy, in steps of the grid, at first."""
GROWTH = 1.01
ROUNDS = 20


def solve(problem: Problem) -> Rounded:
    """Round to nearest with scales of least l_p error, by half-quadratic splitting; looks at no inputs.

    The paper moves a zero point with the scale held; levels here have their zero in place, so the scale is moved.

    Source:
        Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models", section 2.
    """
    space, weights = problem.space, problem.weights
    start = space.fit(weights)
    group, columns = start.group, weights.shape[1]
    filled = np.pad(weights, ((0, 0), (0, -columns % group)))
    scales = _split(filled.reshape(len(weights), -1, group), start.scale[:, :, None], start.levels)
    grid = space.near(weights, scales)
    return Rounded(levels=problem.masked(grid.nearest(weights, grid.column_scales(columns))), grid=grid)


def _split(cells: Array, scales: Array, levels: Array) -> Array:
    """The scale of each group, from where `fit` has it: float64, shape (rows, groups)."""
    kept, least = scales, np.full(scales.shape, np.inf)
    sharpness = SHARPNESS
    for _ in range(ROUNDS):
        rounded = nearest_level(cells / scales, levels)
        residual = cells / scales - rounded  # in steps
        error = (np.abs(residual * scales) ** NORM).mean(axis=2, keepdims=True)
        kept, least = np.where(error < least, scales, kept), np.minimum(error, least)
        wanted = cells - scales * _shrunk(residual, sharpness)
        power = np.square(rounded).sum(axis=2, keepdims=True)
        fitted = np.divide((wanted * rounded).sum(axis=2, keepdims=True), power, out=scales.copy(), where=power > 0)
        scales = np.where(np.abs(fitted) > SMALLEST, fitted, scales)
        sharpness *= GROWTH
    return np.asarray(kept[:, :, 0])


def _shrunk(residual: Array, sharpness: float) -> Array:
    """The generalised soft threshold: the sparse part of the residual."""
    size = np.maximum(np.abs(residual), 1e-12)
    return np.asarray(np.sign(residual) * np.maximum(size - size ** (NORM - 1) / sharpness, 0.0))


METHOD = Method(name="hqq", solve=solve)
