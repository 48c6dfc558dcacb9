"""The knapsack against brute force and against a solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from intact.errors import UsageError
from intact.tuning.assignment import Option, Point, cheapest, front, repaired, spread

options = st.builds(Option, cost=st.integers(0, 40), error=st.integers(-5, 60).map(lambda e: e / 8))
problems = st.lists(st.lists(options, min_size=1, max_size=4), min_size=1, max_size=5)


def brute(layers: list[list[Option]]) -> list[tuple[int, float]]:
    """The (cost, error) pairs that no other beats, of every assignment there is; the dearest first."""
    sums = {(sum(o.cost for o in picked), sum(o.error for o in picked)) for picked in itertools.product(*layers)}
    best = [a for a in sums if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in sums)]
    return sorted(best, reverse=True)


def totals(layers: list[list[Option]], point: Point) -> tuple[int, float]:
    picked = [layer[pick] for layer, pick in zip(layers, point.picks, strict=True)]
    return sum(o.cost for o in picked), sum(o.error for o in picked)


@given(problems)
@settings(deadline=None)
def test_the_front_is_that_of_all_assignments(layers: list[list[Option]]) -> None:
    found = front(layers)
    assert [(point.cost, point.error) for point in found] == brute(layers)  # eighths add up without rounding
    assert all(totals(layers, point) == (point.cost, point.error) for point in found)
    assert front(layers) == found


@given(problems, st.integers(2, 6))
@settings(deadline=None)
def test_a_thinned_front_is_made_of_assignments_and_reaches_the_cheapest(layers: list[list[Option]], most: int) -> None:
    found = front(layers, most_states=most)
    assert all(totals(layers, point) == pytest.approx((point.cost, point.error)) for point in found)
    assert all(a.cost > b.cost and a.error < b.error for a, b in itertools.pairwise(found))
    assert found[-1].cost == brute(layers)[-1][0]


def test_many_layers_come_within_a_percent_of_the_optimum() -> None:
    rng = np.random.default_rng(0)
    widths = np.array([2, 3, 4, 5, 6, 8])
    sizes = rng.integers(500, 60_000, 40)
    weight = rng.lognormal(0, 1.5, 40)
    layers = [
        [Option(cost=int(size * bits), error=float(w * 4.0**-bits)) for bits in widths]
        for size, w in zip(sizes, weight, strict=True)
    ]
    points = front(layers)
    for share in (0.3, 0.5, 0.8):
        limit = share * points[0].cost
        ours = next(point for point in points if point.cost <= limit)
        assert ours.error <= solved(layers, limit) * 1.01


def solved(layers: list[list[Option]], limit: float) -> float:
    """The least error within a cost, by integer programming."""
    flat = [option for layer in layers for option in layer]
    rows = np.repeat(np.eye(len(layers)), [len(layer) for layer in layers], axis=1)
    found = milp(
        np.array([option.error for option in flat]),
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(rows, 1, 1),
            LinearConstraint(np.array([[option.cost for option in flat]]), -np.inf, limit),
        ],
        options={"mip_rel_gap": 1e-6},
    )
    assert found.success
    return float(found.fun)


def test_a_layer_without_options_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to choose"):
        front([[Option(cost=1, error=0.0)], []])


def test_the_cheapest_within_an_error_is_found_or_there_is_none() -> None:
    points = front([[Option(cost=8, error=0.0), Option(cost=4, error=1.0), Option(cost=2, error=3.0)]])
    assert [cheapest(points, error).cost for error in (0.0, 1.5, 99.0)] == [8, 4, 2]  # type: ignore[union-attr]
    assert cheapest(points, -1.0) is None


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60, unique=True), st.integers(2, 9))
def test_spread_points_keep_order_and_ends(costs: list[int], count: int) -> None:
    points = [Point(cost=c, error=float(i), picks=()) for i, c in enumerate(sorted(costs, reverse=True))]
    few = spread(points, count)
    assert len(few) <= max(count, 2)
    assert few[0] == points[0]
    assert few[-1] == points[-1]
    assert list(few) == sorted(few, key=lambda point: -point.cost)


def test_repaired_errors_never_fall_with_the_width() -> None:
    assert repaired({8: 0.1, 6: 0.05, 4: 0.3, 3: 0.2}) == {8: 0.1, 6: 0.1, 4: 0.3, 3: 0.3}
