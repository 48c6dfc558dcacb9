"""The guard at work: every check that is on, on the inputs of a call and on its outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from intact.errors import UsageError
from intact.guard.check import Check, Score
from intact.guard.contract import Contract, known
from intact.guard.finding import Finding, Mode
from intact.guard.modes import settle
from intact.guard.rows import Rows, Run, pooled

Array = NDArray[Any]

BEYOND: Final = 1e30
"""Told in place of a score that is no finite number."""
EMBEDDED: Final = 64
"""Most features of a query that `Probing` compares."""
SHAPE: Final = "shape"
DISTANCE: Final = "mahalanobis"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Watch:
    """A check that is on, ready to judge."""

    check: Check
    mode: Literal["flag", "refuse"]
    score: Score
    threshold: float
    passed: Finding

    def judge(self, rows: Rows) -> Finding | None:
        """Return what it finds of the worst row; None where the model has not what it looks at."""
        if self.check.passes is not None and self.check.passes(rows):
            return self.passed
        measured = self.check.measure(rows)
        if measured is None:
            return None
        scores = self.score(measured)
        row = int(scores.argmax()) if len(scores) > 1 else 0  # a NaN counts as the largest
        worst = float(scores[row])
        if worst == 0.0 and row == 0 and self.threshold >= 0.0:
            return self.passed
        told = float(f"{worst:.3g}") if math.isfinite(worst) else math.copysign(BEYOND, worst)
        verdict = "ok" if worst <= self.threshold else self.mode
        return Finding(check=self.check.name, verdict=verdict, score=told, row=row)


class Guard:
    """Checks calls of one model by its contract. Safe to use from several threads.

    Args:
        contract: What was learned when the model was built.
        modes: Mode by check, for those that shall not have their default.
        run: The model itself, for checks that ask it again (`squeeze`).

    Raises:
        UsageError: A check or mode is unknown, or a check that is on needs `run`.
    """

    def __init__(self, contract: Contract, modes: Mapping[str, Mode] | None = None, *, run: Run | None = None) -> None:
        chosen = settle(modes)
        self.contract = contract
        self.modes: Mapping[str, Mode] = MappingProxyType({name: chosen[name] for name in contract.checks})
        self._run = run
        self._before = self._watches("input")
        self._after = self._watches("output")
        asking = [watch.check.name for watch in self._after if watch.check.asks]
        if asking and run is None:
            raise UsageError(f"check '{asking[0]}' runs the model again, and no model was given", hint="give run=")
        self._tapped = contract.tap is not None and self.modes.get(DISTANCE, "off") != "off"

    def inputs(self, feeds: Mapping[str, Array]) -> list[Finding]:
        """Check inputs before the run. Whatever is in `feeds`, this raises nothing.

        Returns:
            A finding of the worst row for every check that is on; of `shape` alone where arrays are not what the model
            takes, for nothing else can be said of them.
        """
        rows = Rows(takes=self.contract.inputs, feeds=feeds)
        if not rows.fits:
            mode = self.modes.get(SHAPE, "refuse")
            return [] if mode == "off" else [Finding(check=SHAPE, verdict=mode, score=1.0, row=0)]
        return _findings(self._before, rows)

    def outputs(
        self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], features: Array | None = None
    ) -> list[Finding]:
        """Check a call after the run.

        Args:
            feeds: What went in, which `inputs` found to fit.
            outputs: What came out.
            features: The layer that the contract taps, as `Model.observe` gives it, of the rows of this call.

        Returns:
            A finding of the worst row for every check that is on and that the model has something for.

        Raises:
            UsageError: The contract looks at a layer, and no features are given.
        """
        if features is None and self._tapped:
            raise UsageError(
                f"check '{DISTANCE}' looks at a layer of the model, and its features are not given",
                hint=f"open the model with guard=True and use observe(), or switch it off: {DISTANCE}=off",
            )
        return _findings(self._after, self._seen(feeds, outputs, features))

    def scores(
        self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], features: Array | None = None
    ) -> dict[str, Array]:
        """Return the score of every row, by check that is on: to measure on your own data how well they tell apart."""
        before, after = Rows(takes=self.contract.inputs, feeds=feeds), self._seen(feeds, outputs, features)
        found = {}
        for watches, rows in ((self._before, before), (self._after, after)):
            for watch in watches:
                measured = watch.check.measure(rows)
                if measured is not None:
                    found[watch.check.name] = watch.score(measured)
        return found

    def embedding(
        self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], features: Array | None = None
    ) -> NDArray[np.float32] | None:
        """Return what `Probing` compares queries by, (rows, at most 64) float32; None where there is nothing.

        Args:
            feeds: As `outputs` takes them; the next two likewise.
            outputs: What came out.
            features: The layer that the contract taps.
        """
        if features is None and self.contract.tap is not None:
            return None
        found = self._seen(feeds, outputs, features).embedding
        return None if found is None else pooled(found, EMBEDDED)

    def _seen(self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], features: Array | None) -> Rows:
        contract = self.contract
        tapped = features if contract.tap is not None else None
        return Rows(
            takes=contract.inputs,
            feeds=feeds,
            outputs=outputs,
            features=tapped,
            zero=0 if contract.tap is None else contract.tap.zero,
            scores=contract.scores,
            chances=contract.chances,
            run=self._run,
        )

    def _watches(self, place: Literal["input", "output"]) -> tuple[_Watch, ...]:
        found = []
        for name, learned in self.contract.checks.items():
            check, mode = known(name), self.modes[name]
            if check.place == place and mode != "off":
                score = check.bind(learned.params)
                passed = Finding(check=name, verdict="ok", score=0.0, row=0)
                watch = _Watch(check=check, mode=mode, score=score, threshold=learned.threshold, passed=passed)
                found.append(watch)
        return tuple(found)


def _findings(watches: tuple[_Watch, ...], rows: Rows) -> list[Finding]:
    with np.errstate(all="ignore"):  # what is not finite has a score beyond every threshold
        found = [watch.judge(rows) for watch in watches]
    return [finding for finding in found if finding is not None]
