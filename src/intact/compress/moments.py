"""Second moments of a layer's inputs: what a rounding method needs to know of the calibration data, and no more."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.graph.view import Node

Array = NDArray[Any]

DAMPING = 0.01
"""Share of the mean of H's diagonal that is added to it before it is solved with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a product cuts its input into rows of `columns` values, one for each output position.

    Args:
        groups: Of a convolution; 1 elsewhere. Each has rows of its own.
        columns: Values that meet one output channel's weights.
        window: Kernel sizes of a convolution; None for a matrix product over the last axis.
        strides, dilations, pads: As ONNX gives them.
    """

    groups: int
    columns: int
    window: tuple[int, ...] | None = None
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()

    @classmethod
    def of(cls, node: Node, weight_shape: tuple[int, ...]) -> Geometry | None:
        """The geometry of a Conv, Gemm (transB = 1) or MatMul; None for a convolution that pads by itself."""
        if node.op != "Conv":
            return cls(groups=1, columns=weight_shape[0 if node.op == "MatMul" else 1])
        if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET"):
            return None
        axes = len(weight_shape) - 2
        return cls(
            groups=int(node.attributes.get("group", 1)),
            columns=int(np.prod(weight_shape[1:])),
            window=tuple(weight_shape[2:]),
            strides=tuple(node.attributes.get("strides", [1] * axes)),
            dilations=tuple(node.attributes.get("dilations", [1] * axes)),
            pads=tuple(node.attributes.get("pads", [0] * 2 * axes)),
        )

    def rows(self, value: Array, most: int) -> Array:
        """Up to about `most` rows of `value`, spread evenly: float32, shape (groups, rows, columns)."""
        if self.window is None:
            flat = value.reshape(-1, value.shape[-1])
            return np.ascontiguousarray(flat[_evenly(len(flat), most)], np.float32)[None]
        axes = len(self.window)
        padded = np.pad(value, [(0, 0), (0, 0), *zip(self.pads[:axes], self.pads[axes:], strict=True)])
        spans = tuple((size - 1) * gap + 1 for size, gap in zip(self.window, self.dilations, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(2, 2 + axes)))
        places = tuple(slice(None, None, step) for step in self.strides)
        inside = tuple(slice(None, None, gap) for gap in self.dilations)
        windows = windows[(slice(None), slice(None), *places, *inside)]  # (N, C, *out, *window)
        found = np.moveaxis(windows, 1, 1 + axes)  # (N, *out, C, *window)
        place = np.unravel_index(_evenly(int(np.prod(found.shape[: 1 + axes])), most), found.shape[: 1 + axes])
        rows = found[place].reshape(len(place[0]), self.groups, self.columns)
        return np.ascontiguousarray(np.moveaxis(rows, 1, 0), np.float32)


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    wanted = max(1, min(count, most))
    return np.linspace(0, count - 1, wanted).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What was seen of a layer's inputs, in float (f) and as the layer really gets them (x), for each group.

    Args:
        gram: Mean of x x^T, float64, shape (groups, columns, columns).
        cross: Mean of f x^T, likewise.
        mean: Mean of x, shape (groups, columns).
        float_mean: Mean of f.
    """

    gram: Array
    cross: Array
    mean: Array
    float_mean: Array

    def centred(self) -> Moments:
        """The same about the means: what is left to the weights where the bias takes care of the mean."""
        gram = self.gram - self.mean[:, :, None] * self.mean[:, None, :]
        cross = self.cross - self.float_mean[:, :, None] * self.mean[:, None, :]
        return Moments(gram=gram, cross=cross, mean=self.mean, float_mean=self.float_mean)

    def scaled(self, factor: Array) -> Moments:
        """The same where f and x are both divided by `factor`: shape () or (columns,)."""
        outer = np.multiply.outer(factor, factor) if factor.ndim else factor * factor
        return Moments(
            gram=self.gram / outer,
            cross=self.cross / outer,
            mean=self.mean / factor,
            float_mean=self.float_mean / factor,
        )


class Gathering:
    """Adds up the moments part by part."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        shape = (geometry.groups, geometry.columns)
        self._gram = np.zeros((*shape, geometry.columns))
        self._cross = np.zeros((*shape, geometry.columns))
        self._sums = np.zeros(shape), np.zeros(shape)
        self._rows = 0

    def see(self, value: Array, reference: Array, most: int) -> None:
        """Take in one part: `value` as the layer gets it, `reference` as float gave it, up to about `most` rows."""
        rows, wanted = self._geometry.rows(value, most), self._geometry.rows(reference, most)
        across = rows.transpose(0, 2, 1)
        self._gram += across @ rows
        self._cross += wanted.transpose(0, 2, 1) @ rows
        self._sums[0][:] += rows.sum(axis=1, dtype=np.float64)
        self._sums[1][:] += wanted.sum(axis=1, dtype=np.float64)
        self._rows += rows.shape[1]

    def finish(self) -> Moments:
        """Return what was seen."""
        count = max(self._rows, 1)
        gram = (self._gram + self._gram.transpose(0, 2, 1)) / (2 * count)
        return Moments(
            gram=gram, cross=self._cross / count, mean=self._sums[0] / count, float_mean=self._sums[1] / count
        )


def target(weights: Array, moments: Moments) -> Array:
    """The weights that, given x, come nearest to what `weights` make of f in mean square.

    Args:
        weights: float64, shape (rows, columns); the rows of each group of a convolution lie together.
        moments: Centred where the bias takes the mean.

    Returns:
        float64, shape (rows, columns); near `weights` where x says little.

    Source:
        The asymmetric calibration of Nagel et al. 2020, arXiv:2004.10568, section 3.4, and Li et al. 2025,
        arXiv:2504.02692, as a ridge regression about `weights`.
    """
    found = np.empty_like(weights)
    groups = by_groups(len(moments.gram), len(weights))
    for rows, gram, cross in zip(groups, moments.gram, moments.cross, strict=True):
        damping = DAMPING * float(np.mean(np.diag(gram))) + np.finfo(np.float32).tiny
        damped = gram + damping * np.eye(len(gram))
        wanted = weights[rows] @ (cross + damping * np.eye(len(gram)))
        found[rows] = np.linalg.solve(damped, wanted.T).T
    return found


def by_groups(count: int, rows: int) -> list[slice]:
    """The rows of each of `count` groups of a convolution."""
    bounds = [rows * number // count for number in range(count + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(bounds)]
