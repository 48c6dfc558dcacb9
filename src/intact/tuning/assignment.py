"""Which choice for which layer: all the best trades of cost against error, a multiple-choice knapsack.

Errors add up over layers, to second order and as long as they are small: each layer's rounding moves the output on its
own, and the cross terms of independent roundings vanish in the mean.

Source:
    Dong et al. 2020, "HAWQ-V2", NeurIPS, section 3.3 (sensitivities added up, Pareto front of the sums); Nemhauser and
    Ullmann 1969, Management Science 15:494-505 (dominance lists); Sinha and Zoltners 1979, Operations Research
    27:503-515 (the convex hull as a lower bound).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError

MOST_STATES = 8192
"""Partial assignments kept after each layer; up to here the front is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What one choice for one layer costs, and what it does to the output.

    Args:
        cost: A whole number >= 0, in units of the objective.
        error: Finite; more is worse.
    """

    cost: int
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One assignment on the front: for each layer, the number of its option."""

    cost: int
    error: float
    picks: tuple[int, ...]


def front(layers: Sequence[Sequence[Option]], *, most_states: int = MOST_STATES) -> tuple[Point, ...]:
    """Return the assignments that no other beats in both cost and error, the dearest (least error) first.

    Args:
        layers: The options of each layer, at least one each.
        most_states: Partial assignments kept after each layer. While there are no more, the front is exact; beyond,
            the least error is kept of those whose costs lie close together.

    Returns:
        Points of strictly falling cost and strictly rising error; one option a layer. The same arguments give the
        same points.

    Raises:
        UsageError: A layer has no option.
    """
    if not all(layers):
        raise UsageError("a layer has nothing to choose from")
    costs, errors = np.zeros(1, np.int64), np.zeros(1)
    history: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for options in layers:
        states = len(costs)
        added = np.array([option.cost for option in options], np.int64)
        worse = np.array([option.error for option in options])
        costs, errors = (costs[:, None] + added).ravel(), (errors[:, None] + worse).ravel()
        kept = _thinned(costs, _undominated(costs, errors), most_states)
        parents, picks = np.divmod(kept, len(options))
        assert states > parents.max()  # each kept state grew from one before
        history.append((parents, picks))
        costs, errors = costs[kept], errors[kept]
    return tuple(
        Point(cost=int(costs[at]), error=float(errors[at]), picks=_picks(history, at)) for at in range(len(costs))
    )[::-1]


def _undominated(costs: NDArray[np.int64], errors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the states that no other beats, by rising cost; of equal ones the first."""
    order = np.lexsort((np.arange(len(costs)), errors, costs))
    least = np.minimum.accumulate(errors[order])
    first = np.ones(len(order), bool)
    first[1:] = errors[order][1:] < least[:-1]
    return np.asarray(order[first])


def _thinned(costs: NDArray[np.int64], kept: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the states: in each of as many equal ranges of cost the last, which has the least error."""
    if len(kept) <= most:
        return kept
    low, high = costs[kept[0]], costs[kept[-1]]
    cell = (costs[kept] - low) * (most - 1) // (high - low)
    last = np.append(cell[1:] != cell[:-1], True)
    last[0] = True  # the cheapest of all stays in reach
    return np.asarray(kept[last])


def _picks(history: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], at: int) -> tuple[int, ...]:
    found = []
    for parents, picks in reversed(history):
        found.append(int(picks[at]))
        at = int(parents[at])
    return tuple(reversed(found))


def cheapest(points: Sequence[Point], most_error: float) -> Point | None:
    """The cheapest point of a front whose error is at most `most_error`; None where there is none."""
    return next((point for point in reversed(points) if point.error <= most_error), None)


def spread(points: Sequence[Point], count: int) -> tuple[Point, ...]:
    """Up to `count` points of a front, in its order: the first, the last, and costs in equal ratios between them."""
    if len(points) <= count:
        return tuple(points)
    costs = np.array([point.cost for point in points], float) + 1.0
    wanted = np.geomspace(costs[0], costs[-1], count)
    numbers = [int(np.abs(np.log(costs / cost)).argmin()) for cost in wanted]
    return tuple(points[number] for number in dict.fromkeys([0, *numbers, len(points) - 1]))


def repaired(errors: Mapping[int, float]) -> dict[int, float]:
    """Errors by width with luck taken out: a narrower width is never better than a wider one."""
    found: dict[int, float] = {}
    most = -np.inf
    for width in sorted(errors, reverse=True):
        most = max(most, errors[width])
        found[width] = float(most)
    return found
