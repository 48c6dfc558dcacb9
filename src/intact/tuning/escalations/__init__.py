"""What to do where no choice of widths keeps the budget: one file each, named after the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from intact.compress.recipe import Recipe
from intact.errors import UsageError
from intact.pipeline.building import Built
from intact.pipeline.drafting import Draft
from intact.pipeline.spec import Spec
from intact.tuning.assignment import Point, spread
from intact.tuning.choices import apply
from intact.tuning.executors import Pool
from intact.tuning.laboratory import Laboratory
from intact.tuning.material import Material
from intact.tuning.objective import Layer, Objective, mean_bits
from intact.tuning.results import Candidate
from intact.tuning.sensitivity import Assigned, Errors

ORDER = ("widen", "method", "reconstruct", "retrain")
"""The cheapest first."""


class Retrain(Protocol):
    """Trains a model further so that it bears a recipe."""

    def __call__(self, spec: Spec, recipe: Recipe, seconds: float) -> Spec | Draft:
        """Return the trained integers as a draft; or a spec with a retrained float model, same inputs and outputs.

        Args:
            spec: The model as it came.
            recipe: What it is to bear.
            seconds: About how long to train at most; infinite where no time was set.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Round:
    """Candidates to be checked in order, the surest first, until one does not pass.

    Args:
        name: Told with the candidates.
        candidates: The order is fixed before any of them meets the held-out data.
        laboratory: Where they are checked.
        material: What they are built from.
        drafted: The integers of the one candidate, where training made them already.
    """

    name: str
    candidates: tuple[Candidate, ...]
    laboratory: Laboratory
    material: Material
    drafted: Draft | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when the widths alone did not do.

    Args:
        spec: The model as it came, its calibration data without what is held out.
        material: What trials work on.
        laboratory: Where they are done.
        layers: The layers that are tuned.
        errors: What each choice does to the output.
        objective: What is to be small.
        points: The front, the dearest first.
        steps: Most candidates of a round.
        retrain: Trains further for a recipe.
        remark: Takes what the user should know.
        open_pool: Gives workers that hold another material.
        build: Builds a material by a recipe, without a check.
    """

    spec: Spec
    material: Material
    laboratory: Laboratory
    layers: tuple[Layer, ...]
    errors: Errors
    objective: Objective
    points: tuple[Assigned, ...]
    steps: int
    retrain: Retrain
    remark: Callable[[str], None]
    open_pool: Callable[[Material], AbstractContextManager[Pool]]
    build: Callable[[Material, Recipe], Built]

    def candidates(self, name: str, points: Sequence[Assigned]) -> tuple[Candidate, ...]:
        """The candidates of a round, in the order of `points`."""
        by_name = {layer.name: layer for layer in self.layers}
        return tuple(
            Candidate(
                recipe=apply(self.material.recipe, point.assignment),
                assignment=point.assignment,
                cost=point.cost,
                mean_bits=mean_bits(by_name, point.assignment),
                error=point.error,
                round=name,
            )
            for point in points
        )

    def round(self, name: str, points: Sequence[Assigned]) -> Round:
        """A round over `points`, the surest first."""
        return Round(
            name=name,
            candidates=self.candidates(name, points),
            laboratory=self.laboratory,
            material=self.material,
        )

    def spread(self, points: Sequence[Assigned], most: int | None = None) -> tuple[Assigned, ...]:
        """At most `most` of the points of a front; as many as a round may check where it is None."""
        numbered = [Point(cost=point.cost, error=point.error, picks=(at,)) for at, point in enumerate(points)]
        return tuple(points[point.picks[0]] for point in spread(numbered, most or self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A member of the family.

    Args:
        name: The file's name.
        why_not: Why it cannot help here; None where it can be tried.
        rounds: Gives rounds of candidates to check, one after the other; it is closed when one passes.
    """

    name: str
    why_not: Callable[[Situation], str | None]
    rounds: Callable[[Situation], Generator[Round]]


@cache
def escalations() -> dict[str, Escalation]:
    """Return every escalation in this folder, by name, in the order in which they are tried."""
    names = sorted(
        (module.name for module in pkgutil.iter_modules(__path__)),
        key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name),
    )
    return {name: importlib.import_module(f"{__name__}.{name}").ESCALATION for name in names}


def named(names: Sequence[str] | None) -> tuple[Escalation, ...]:
    """Return the escalations called `names`, in their order; all where it is None.

    Raises:
        UsageError: One is unknown.
    """
    known = escalations()
    for name in names or ():
        if name not in known:
            raise UsageError(f"no escalation is called '{name}'", hint=f"known escalations: {', '.join(known)}")
    return tuple(known[name] for name in (known if names is None else dict.fromkeys(names)))


def with_method(points: Sequence[Assigned], method: str) -> tuple[Assigned, ...]:
    """The same points, every layer rounded by `method`."""
    return tuple(
        replace(
            point,
            assignment={
                name: choice if choice.is_float else replace(choice, method=method)
                for name, choice in point.assignment.items()
            },
        )
        for point in points
    )
