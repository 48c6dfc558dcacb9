"""What a tuning gives: candidates, their front, and the build that won."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from intact.compress.check import Outcome, Verdict
from intact.compress.recipe import Recipe
from intact.errors import CheckFailed
from intact.pipeline.building import Built
from intact.tuning.choices import Assignment

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One assignment of choices to layers, and what is known of it.

    Args:
        recipe: As a build takes it.
        assignment: The choice of each tuned layer.
        cost: Of the tuned layers, in the objective's unit.
        mean_bits: Bits of a weight over the tuned layers.
        error: Predicted error of the output: the sum of the layers' own.
        round: Of which round of checks it is; empty where it was not up for one.
        measured_error: Error of the integer model's output on calibration rows.
        same: Share of calibration rows with the same label.
        bytes: What its program takes in an artifact.
        verdict: The answer of the held-out data.
        refused: Why it cannot be built; empty otherwise.
    """

    recipe: Recipe = field(repr=False)
    assignment: Assignment = field(repr=False)
    cost: int
    mean_bits: float
    error: float
    round: str = ""
    measured_error: float | None = None
    same: float | None = None
    bytes: int | None = None
    verdict: Verdict | None = None
    refused: str = ""

    @property
    def passed(self) -> bool:
        """Whether the held-out data say that it keeps the budget."""
        return self.verdict is not None and self.verdict.outcome == Outcome.PASS

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain values."""
        plain = ("cost", "mean_bits", "error", "round", "measured_error", "same", "bytes", "refused")
        return {
            **{name: getattr(self, name) for name in plain},
            "layers": {name: choice.to_json() for name, choice in self.assignment.items()},
            "verdict": None if self.verdict is None else asdict(self.verdict),
        }


@dataclass(frozen=True, kw_only=True)
class Front:
    """The best trades that were found.

    Args:
        minimize: The objective.
        unit: What costs count.
        max_drop: The budget.
        predicted: No other predicted candidate beats one of these in both cost and error; the dearest first.
        checked: Candidates that met the held-out data, in that order.
        sensitivities: For each layer, the error of the output by choice.
    """

    minimize: str
    unit: str
    max_drop: float
    predicted: tuple[Candidate, ...]
    checked: tuple[Candidate, ...]
    sensitivities: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the front as plain values."""
        keep = ("cost", "mean_bits", "error")
        return {
            "version": FORMAT_VERSION,
            "minimize": self.minimize,
            "unit": self.unit,
            "max_drop": self.max_drop,
            "predicted": [{name: getattr(point, name) for name in keep} for point in self.predicted],
            "checked": [candidate.to_json() for candidate in self.checked],
            "sensitivities": {layer: dict(errors) for layer, errors in self.sensitivities.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A finished tuning whose promise was checked.

    Args:
        built: The build of the best candidate, checked anew and, if asked, written.
        chosen: That candidate.
        front: What could be had for what.
        trials: Trials that were run now, and those taken over from the journal.
        confidence: That the budget is kept, over all rounds of checks together.
        remarks: What a reader must know: what was not done, and how it was judged.
    """

    built: Built
    chosen: Candidate
    front: Front
    trials: tuple[int, int]
    confidence: float
    remarks: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The final check's answer: a pass."""
        assert self.built.verdict is not None  # it was built with an evaluate function
        return self.built.verdict

    def summary(self) -> list[str]:
        """Return the tuning in a few lines for a person."""
        looks = len(self.front.checked)
        ran, known = self.trials
        return [
            *self.built.summary(),
            f"tuned      {self.front.minimize} {self.chosen.cost:,} {self.front.unit}, "
            f"{self.chosen.mean_bits:.2f} bits a weight, {self.chosen.bytes:,} bytes in an artifact",
            f"promise    {looks} candidates checked; with {self.confidence:.0%} confidence over all checks together "
            "the budget is kept",
            f"trials     {ran} run, {known} taken over from the journal",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the tuning as plain values for a machine."""
        return {
            **self.built.to_json(),
            "tuning": {
                **self.front.to_json(),
                "chosen": self.chosen.to_json(),
                "confidence": self.confidence,
                "trials": {"run": self.trials[0], "taken_over": self.trials[1]},
                "remarks": list(self.remarks),
            },
        }


class BudgetMissed(CheckFailed):
    """Nothing that the tuner may choose was shown to keep the budget; `front` says what was found."""

    def __init__(self, message: str, *, hint: str, front: Front) -> None:
        super().__init__(message, hint=hint)
        self.front = front
