"""What happens to inputs once they are allowed in: the guard looks, the model runs, the guard looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import numpy as np

from intact.guard import Finding, refused
from intact.serve.protocol.request import Array

Feeds: TypeAlias = Mapping[str, Array]


class Seen(Protocol):
    """What is seen of a run."""

    @property
    def outputs(self) -> Feeds:
        """What the model gave."""

    @property
    def features(self) -> Array | None:
        """What the guard looks at inside it."""


class Guards(Protocol):
    """What is asked of a guard."""

    def inputs(self, feeds: Feeds) -> list[Finding]:
        """Check inputs before the run."""

    def outputs(self, feeds: Feeds, outputs: Feeds, features: Array | None = None) -> list[Finding]:
        """Check a call after the run."""

    def embedding(self, feeds: Feeds, outputs: Feeds, features: Array | None = None) -> Array | None:
        """Return what queries are compared by."""


class Runs(Protocol):
    """What is asked of a model."""

    def run(self, data: Feeds) -> dict[str, Array]:
        """Run on any number of rows."""

    def observe(self, data: Feeds) -> Seen:
        """Run on any number of rows, and look inside."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request.

    Args:
        outputs: What the model gave; empty where the guard refused.
        findings: What the guard said.
        embedding: What later requests are compared with it by, if anything.
    """

    outputs: Feeds
    findings: Sequence[Finding] = ()
    embedding: Array | None = field(default=None)

    @property
    def refused(self) -> Finding | None:
        """The finding that refuses it; None where it is let through."""
        return refused(self.findings)


NOTHING: Final[Feeds] = {}


class Computer:
    """Computes requests: one alone, or several as one batch.

    Args:
        model: The model.
        guard: Its guard; None for none.
    """

    def __init__(self, model: Runs, guard: Guards | None) -> None:
        self._model = model
        self._guard = guard

    def alone(self, feeds: Feeds) -> Outcome:
        """Compute one request.

        Raises:
            IntactError: The model cannot take these inputs, or no longer runs.
        """
        guard = self._guard
        if guard is None:
            return Outcome(self._model.run(feeds))
        before = guard.inputs(feeds)
        if refused(before) is not None:
            return Outcome(NOTHING, before)
        outputs, features = self._observe(feeds)
        return self._judged(guard, feeds, before, outputs, features)

    def together(self, many: Sequence[Feeds]) -> list[Outcome]:
        """Compute several requests whose inputs have the same names, types and sizes but for the first axis.

        Only for models whose rows keep apart: each outcome is what `alone` would have given.

        Raises:
            IntactError: As `alone`, for any one of them.
        """
        guard = self._guard
        before = [[] if guard is None else guard.inputs(feeds) for feeds in many]
        rows = [len(next(iter(feeds.values()))) for feeds in many]
        fine = [number for number, findings in enumerate(before) if refused(findings) is None]
        found = [Outcome(NOTHING, findings) for findings in before]
        if not fine:
            return found
        merged = {name: np.concatenate([many[number][name] for number in fine]) for name in many[0]}
        outputs, features = self._observe(merged)
        at = 0
        for number in fine:
            part = slice(at, at + rows[number])
            at += rows[number]
            own = {name: value[part] for name, value in outputs.items()}
            own_features = None if features is None else features[part]
            if guard is None:
                found[number] = Outcome(own)
            else:
                found[number] = self._judged(guard, many[number], before[number], own, own_features)
        return found

    def _observe(self, feeds: Feeds) -> tuple[Feeds, Array | None]:
        """Run the model; also return what the guard looks at inside it, where there is such a thing."""
        if self._guard is None:
            return self._model.run(feeds), None
        seen = self._model.observe(feeds)
        return seen.outputs, seen.features

    def _judged(
        self, guard: Guards, feeds: Feeds, before: list[Finding], outputs: Feeds, features: Array | None
    ) -> Outcome:
        findings = [*before, *guard.outputs(feeds, outputs, features)]
        if refused(findings) is not None:
            return Outcome(NOTHING, findings)
        return Outcome(outputs, findings, guard.embedding(feeds, outputs, features))
