"""Learning a contract from calibration data: call by call, holding what checks measured and never the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.guard.check import Check, Evidence
from intact.guard.checks import checks
from intact.guard.contract import Contract, Learned, Tap, plain
from intact.guard.rows import CLASSES, Rows, Run, Takes, are_probabilities, row_axis
from intact.guard.threshold import threshold

Array = NDArray[Any]

LEAST_ROWS: Final = 100
"""From fewer nothing is learned."""
MOST_ROWS: Final = 512
"""More are not looked at."""
FPR: Final = 0.01


class Learner:
    """Gathers what checks measure on calibration data. Every other row is held out, for the thresholds.

    Args:
        inputs: What the model takes.
        tap: The layer whose values `add` is given; None where it is given none.
        run: The integer model, to be asked again.
    """

    def __init__(self, inputs: Sequence[Takes], *, tap: Tap | None = None, run: Run | None = None) -> None:
        self.inputs = tuple(inputs)
        self.rows = 0
        self._tap = tap
        self._run = run
        self._scores: str | None = None
        self._chances = False
        self._measured: dict[str, list[Array]] = {name: [] for name, each in checks().items() if each.limit is None}
        self._reference: dict[str, list[Array]] = {name: [] for name in self._measured}

    def add(
        self,
        feeds: Mapping[str, Array],
        outputs: Mapping[str, Array],
        features: Array | None = None,
        reference: Mapping[str, Array] | None = None,
    ) -> None:
        """Measure one call: what went in, came out, and comes out of the float model."""
        if self.rows >= MOST_ROWS or not self.inputs or not row_axis(self.inputs):
            return
        if not self.rows:
            self._scores = _scores(outputs)
            self._chances = self._scores is not None and are_probabilities(outputs[self._scores])
            self._tap = self._tap if _useful(features, outputs) else None
        rows = self._seen(feeds, outputs, features)
        if not rows.fits:
            return
        odd = slice((self.rows + 1) % 2, None, 2)
        for name in list(self._measured):
            self._measure(checks()[name], rows, odd, reference)
        self.rows += rows.count

    def learn(self, fpr: float = FPR) -> Contract:
        """Return the contract: of shapes and finite values only, where rows were fewer than `LEAST_ROWS`."""
        bare = plain(self.inputs, fpr=fpr)
        if self.rows < LEAST_ROWS:
            return bare
        found = {name: self._learned(checks()[name], fpr) for name in self._measured}
        kept = {name: learned for name, learned in found.items() if learned is not None}
        return Contract(
            rows=self.rows,
            fpr=fpr,
            inputs=self.inputs,
            scores=self._scores,
            chances=self._chances,
            tap=self._tap if "mahalanobis" in kept else None,
            checks=dict(sorted({**bare.checks, **kept}.items())),
        )

    def _seen(self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], features: Array | None) -> Rows:
        tapped = features if self._tap is not None else None
        return Rows(
            takes=self.inputs,
            feeds=feeds,
            outputs=outputs,
            features=tapped,
            zero=0 if self._tap is None else self._tap.zero,
            scores=self._scores,
            chances=self._chances,
            run=self._run,
        )

    def _measure(self, check: Check, rows: Rows, odd: slice, reference: Mapping[str, Array] | None) -> None:
        """Keep what a check measures on a call; forget the check where there is nothing to measure."""
        if check.asks:  # half as many runs: it learns nothing but its threshold
            feeds, outputs = ({n: v[odd] for n, v in each.items()} for each in (rows.feeds, rows.outputs))
            if not len(next(iter(feeds.values()))):
                return
            rows = self._seen(feeds, outputs, None)
        found = check.measure(rows)
        kept = self._measured[check.name]
        if found is None or len(found) != rows.count or (kept and kept[0].shape[1] != found.shape[1]):
            del self._measured[check.name]
            return
        kept.append(found.astype(np.float32, copy=False))
        if check.compares and reference is not None:
            theirs = check.measure(self._seen(rows.feeds, reference, None))
            self._reference[check.name] += [] if theirs is None else [theirs]

    def _learned(self, check: Check, fpr: float) -> Learned | None:
        """Let a check learn from the rows with even numbers, and set its threshold by those with odd ones."""
        if not self._measured[check.name]:
            return None
        measured = np.concatenate(self._measured[check.name])
        reference = np.concatenate(self._reference[check.name]) if self._reference[check.name] else None
        fits = reference is not None and reference.shape == measured.shape
        known = measured if check.asks else measured[::2]
        params = check.learn(
            Evidence(measured=known, reference=reference[::2] if fits and reference is not None else None)
        )
        if params is None:
            return None
        held = threshold(check.bind(params)(measured if check.asks else measured[1::2]), fpr)
        return None if held is None else Learned(threshold=held.value, fpr=held.fpr, params=params)


def _scores(outputs: Mapping[str, Array]) -> str | None:
    """The first output that may hold scores of labels: a row of floats for each row, and no vector of length 1."""
    for name, value in outputs.items():
        if value.ndim == 2 and value.dtype == np.float32 and 2 <= value.shape[1] <= CLASSES:
            lengths = np.linalg.norm(value, axis=1)
            if are_probabilities(value) or not np.allclose(lengths, 1.0, atol=1e-2):
                return name
    return None


def _useful(features: Array | None, outputs: Mapping[str, Array]) -> bool:
    """Whether a layer says more than the output does: a row of features, or the output is no better."""
    return features is not None and (features.ndim == 2 or all(value.ndim != 2 for value in outputs.values()))
