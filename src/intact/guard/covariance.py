"""Means by label and one covariance of features: few directions, and the rest alike; none of a single record's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.guard.arrays import fields, number, pack, refusal, round_to, unpack
from intact.guard.check import Array, Evidence, Params, Score

DIRECTIONS: Final = 16
"""Most directions that have a variance of their own."""
LABELS: Final = 32
"""With more labels one mean stands for all."""
MEAN_ROWS: Final = 10
"""A label with fewer records has no mean of its own, for it would tell of them."""
TINY: Final = 1e-18
ALONE: Final = 2
"""What no more records have leaves no trace in a mean."""
SUPPORT: Final = 0.25
"""No record has a larger share in the variance along a direction that is kept."""
CLIP: Final = 0.9
"""Records further from their mean than this share of all are drawn in to it, so that none bends a direction alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """Where features lie.

    Args:
        means: By label, and last that of all; (means, features).
        directions: (features, directions).
        variances: Along each direction.
        rest: In every other.
    """

    means: NDArray[np.float32]
    directions: NDArray[np.float32]
    variances: NDArray[np.float32]
    rest: float


def learn(evidence: Evidence) -> Params | None:
    """Return means, directions and variances; None where features do not vary."""
    features = _of_length_one(evidence.measured[:, :-1].astype(np.float64))
    labels = evidence.measured[:, -1].astype(np.int64)
    if not np.isfinite(features).all() or features.shape[1] < 2:
        return None
    means = pack(_means(features, labels))
    centred = _drawn_in(features - _of(unpack(means, (-1, features.shape[1])), labels))
    total = float((centred**2).sum()) / len(centred)
    if total <= 0.0:
        return None
    directions = pack(_directions(centred))
    kept = unpack(directions, (features.shape[1], -1)).astype(np.float64)
    along, shrinkage = (centred @ kept) ** 2, _shrinkage(centred)
    count = features.shape[1]
    rest = max(total - float(along.sum(axis=1).mean()), 1e-6 * total) / max(1, count - kept.shape[1])
    variances = (1 - shrinkage) * along.mean(axis=0) + shrinkage * total / count
    return {
        "means": means,
        "directions": directions,
        "deviations": [round_to(float(np.sqrt(each)), 3) for each in variances],
        "rest": round_to((1 - shrinkage) * rest + shrinkage * total / count, 3),
    }


def read(params: Params) -> Shape:
    """Return what `learn` found.

    Raises:
        IntegrityError: The parameters are none of its.
    """
    means, directions, deviations, rest = fields(params, "means", "directions", "deviations", "rest")
    kept = unpack(directions, (-1, -1))
    if not isinstance(deviations, list) or len(deviations) != kept.shape[1] or kept.shape[1] > DIRECTIONS:
        raise refusal("deviations that do not fit the directions")
    found = unpack(means, (-1, kept.shape[0]))
    if not 1 <= len(found) <= LABELS + 1:
        raise refusal(f"{len(found)} means")
    squares = [number(each, "deviation", least=1e-15, most=1e15) ** 2 for each in deviations]
    return Shape(
        means=found,
        directions=kept,
        variances=np.asarray(squares, np.float32),
        rest=number(rest, "variance", least=1e-30, most=1e30),
    )


def bind(params: Params) -> Score:
    """Return the score of `checks/mahalanobis`.

    Raises:
        IntegrityError: The parameters are none of `learn`'s.
    """
    shape = read(params)
    means, rest, last, kept = shape.means, 1 / shape.rest, len(shape.means) - 1, shape.directions.shape[1]
    weights: Array = 1 / shape.variances - rest  # |d - Dz|^2 = |d|^2 - |z|^2, the columns of D being orthonormal
    both = np.concatenate([shape.directions, means.T], axis=1)  # (features, directions + means)
    along_means, squares = means @ shape.directions, np.square(means).sum(axis=1)

    def one(features: Array, label: int) -> Array:
        """The same for one row, as servers mostly see them, in fewer steps."""
        products = features @ both
        length = math.sqrt(max(float(features @ features), TINY))
        along = products[:kept] / length - along_means[label]
        away = 1 - 2 * float(products[kept + label]) / length + float(squares[label])
        return np.asarray([float(np.square(along) @ weights) + away * rest])

    def score(measured: Array) -> Array:
        """|f - m|^2 = 1 - 2 f m + |m|^2 for f of length 1, and (f - m) D = f D - m D: one product for all."""
        if measured.shape[1] != means.shape[1] + 1:
            return np.full(len(measured), np.inf)
        if len(measured) == 1:
            return one(measured[0, :-1], min(int(measured[0, -1]), last))
        features, labels = measured[:, :-1], np.minimum(measured[:, -1].astype(np.intp), last)
        lengths = np.sqrt(np.maximum(np.einsum("ij,ij->i", features, features), TINY))[:, None]
        products = features @ both / lengths
        along = products[:, :kept] - along_means[labels]
        away = 1 - 2 * products[np.arange(len(labels)), kept + labels] + squares[labels]
        return np.asarray(np.square(along) @ weights + away * rest)

    return score


def _of_length_one(features: Array) -> Array:
    return np.asarray(features / np.sqrt(np.maximum(np.square(features).sum(axis=1, keepdims=True), TINY)))


def _of(means: Array, labels: Array) -> Array:
    """The mean of each row's label; the last, that of all, for other labels."""
    return np.asarray(means if len(means) == 1 else means[np.minimum(labels, len(means) - 1)])


def _means(features: Array, labels: Array) -> Array:
    """Return the mean of every label, or that of all where it has few records; and last that of all."""
    count, whole = int(labels.max(initial=0)) + 1, _mean(features)
    if not 1 < count <= LABELS:
        return whole[None]
    rows = [features[labels == label] for label in range(count)]
    return np.asarray([*(_mean(some) if len(some) >= MEAN_ROWS else whole for some in rows), whole])


def _mean(features: Array) -> Array:
    """Return the mean, the `ALONE` least and greatest values of every feature drawn in to the next one."""
    ordered = np.sort(features, axis=0)
    return np.asarray(np.clip(features, ordered[ALONE], ordered[-1 - ALONE]).mean(axis=0))


def _drawn_in(centred: Array) -> Array:
    """Draw records in to the distance within which most lie."""
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    most = np.quantile(lengths, CLIP)
    return np.asarray(centred * np.minimum(1.0, most / np.maximum(lengths, 1e-300)))


def _directions(centred: Array) -> Array:
    """Return the directions of most variance, (features, directions), but those that one record makes up."""
    values, vectors = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(-values, kind="stable")[: min(DIRECTIONS, len(centred) // 8)]
    found = vectors[:, order]
    found = found * np.where(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])] < 0, -1.0, 1.0)
    along = (centred @ found) ** 2
    share = along.max(axis=0) / np.maximum(along.sum(axis=0), 1e-300)
    return np.asarray(found[:, (share <= SUPPORT) & (values[order] > 1e-9 * values.max())])


def _shrinkage(centred: Array) -> float:
    """Return the share of the mean variance in the shrunk covariance (Ledoit and Wolf 2004, lemma 3.3)."""
    rows, count = centred.shape
    covariance = centred.T @ centred / rows
    mean = float(np.trace(covariance)) / count
    spread = float(((covariance - mean * np.eye(count)) ** 2).sum())
    noise = (float((np.square(centred).sum(axis=1) ** 2).sum()) / rows - float((covariance**2).sum())) / rows
    return min(1.0, max(0.0, noise / spread)) if spread > 0 else 1.0
