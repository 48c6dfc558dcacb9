"""Leave the layers in float that cost most, at most a quarter of all weights."""

from __future__ import annotations

from collections.abc import Generator

from intact.tuning.choices import FLOAT
from intact.tuning.escalations import Escalation, Round, Situation
from intact.tuning.sensitivity import assign

MOST_SHARE = 0.25
"""Share of the weights that may stay float: with more it is an integer model by name only."""


def why_not(situation: Situation) -> str | None:
    """The exact profile has no float layers."""
    if situation.material.recipe.profile == "exact":
        return "the exact profile allows no layer in float"
    return None


def rounds(situation: Situation) -> Generator[Round]:
    """One round: the assignments with float layers on the front, those with most float first."""
    layers = situation.layers
    whole = sum(layer.weights for layer in layers)
    errors = {name: {**found, FLOAT: 0.0} for name, found in situation.errors.items()}
    sizes = {layer.name: layer.weights for layer in layers}
    points = []
    for point in assign(errors, layers, situation.objective):
        share = sum(sizes[name] for name, choice in point.assignment.items() if choice.is_float) / whole
        if 0 < share <= MOST_SHARE:
            points.append(point)
    if points:
        yield situation.round("widen", situation.spread(points))


ESCALATION = Escalation(name="widen", why_not=why_not, rounds=rounds)
