"""The trade between cost and error as the report tells it: what was predicted, what was checked, what was taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

if TYPE_CHECKING:
    from intact.tuning import Candidate, Front

HEIGHT = 220
"""Of the plot itself, in pixels."""
ROOM = 0.04
"""Free room on either side, as a share of the width."""
LEAST_ERROR = 1e-9
MOST_POINTS = 240
"""Points of the predicted front that are drawn."""

Look = Literal["predicted", "passed", "missed", "chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One point of the plot.

    Args:
        cost: Horizontal, in the front's unit.
        error: Vertical; of the output, on calibration data.
        look: What is known of it.
        title: What is told of it.
    """

    cost: int
    error: float
    look: Look
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """A front to draw.

    Args:
        unit: What costs count.
        max_drop: The budget.
        predicted: The front that was predicted, the dearest first.
        checked: What met the held-out data, in that order; the chosen one among them.
    """

    unit: str
    max_drop: float
    predicted: tuple[Mark, ...]
    checked: tuple[Mark, ...]

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All of them."""
        return (*self.predicted, *self.checked)


def pareto_of(front: Front, chosen: Candidate) -> Pareto:
    """Return the front of a tuning as the report draws it."""
    every = max(1, -(-len(front.predicted) // MOST_POINTS))
    return Pareto(
        unit=front.unit,
        max_drop=front.max_drop,
        predicted=tuple(_predicted(point) for point in front.predicted[::every]),
        checked=tuple(_checked(candidate, chosen) for candidate in front.checked),
    )


def _predicted(point: Candidate) -> Mark:
    return Mark(cost=point.cost, error=point.error, look="predicted", title=f"predicted: {point.mean_bits:.2f} bits")


def _checked(candidate: Candidate, chosen: Candidate) -> Mark:
    known = candidate.measured_error if candidate.measured_error is not None else candidate.error
    look: Look = "passed" if candidate.passed else "missed"
    if candidate.recipe == chosen.recipe:
        look = "chosen"
    reason = candidate.refused or (candidate.verdict.reason if candidate.verdict is not None else "not checked")
    return Mark(
        cost=candidate.cost, error=known, look=look, title=f"{candidate.mean_bits:.2f} bits a weight, {look}: {reason}"
    )


def picture(pareto: Pareto) -> Markup:
    """Draw cost against error: the predicted front as small dots, what was checked as large ones.

    Costs are linear, errors logarithmic; equal errors lie in the middle.
    """
    across = _scale([mark.cost for mark in pareto.marks])
    up = _scale([_log(mark.error) for mark in pareto.marks])
    parts = [
        Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(HEIGHT),
        *(_dot(mark, across, up) for mark in pareto.marks),
        *_labels(pareto),
    ]
    title = f"error of the output against {pareto.unit}, {len(pareto.checked)} candidates checked"
    frame = Markup('<svg class="pareto" role="img" width="100%" height="{}"><title>{}</title>{}</svg>')
    return frame.format(HEIGHT + 24, title, Markup("").join(parts))


def _dot(mark: Mark, across: Callable[[float], float], up: Callable[[float], float]) -> Markup:
    x, y = f"{100 * across(mark.cost):.2f}%", f"{HEIGHT * (1 - up(_log(mark.error))):.1f}"
    radius = 2 if mark.look == "predicted" else 6
    shape = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    return shape.format(mark.look, x, y, radius, mark.title)


def _labels(pareto: Pareto) -> list[Markup]:
    low, high = (pick(mark.cost for mark in pareto.marks) for pick in (min, max))
    return [
        Markup('<text x="100%" y="12" text-anchor="end">more error</text>'),
        Markup('<text x="0" y="{}">{}</text>').format(HEIGHT + 18, f"{low:,}"),
        Markup('<text x="50%" y="{}" text-anchor="middle">{}</text>').format(HEIGHT + 18, pareto.unit),
        Markup('<text x="100%" y="{}" text-anchor="end">{}</text>').format(HEIGHT + 18, f"{high:,}"),
    ]


def _log(error: float) -> float:
    return math.log10(max(error, LEAST_ERROR))


def _scale(values: Sequence[float]) -> Callable[[float], float]:
    """A map of the values' range into the plot, 0 to 1, with room on both sides."""
    low, high = min(values), max(values)
    return lambda value: ROOM + (1 - 2 * ROOM) * ((value - low) / (high - low) if high > low else 0.5)
