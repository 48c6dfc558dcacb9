"""Runs trials, and keeps every answer so that none is asked twice."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import engine
from intact.engine import EngineError
from intact.errors import DataError, IntactError
from intact.graph.program import Program
from intact.pipeline.building import Built
from intact.pipeline.drafting import Draft
from intact.pipeline.options import Progress
from intact.pipeline.predict import Predictor
from intact.tuning.deadline import Deadline
from intact.tuning.executors import Pool
from intact.tuning.folder import Journal
from intact.tuning.judging import Judge
from intact.tuning.results import Candidate
from intact.tuning.trials import Answer, Compress, Trial, facts_of, key_of

Array = NDArray[Any]


@dataclass
class Counts:
    """How many trials were run, and how many were known already."""

    ran: int = 0
    known: int = 0


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """A pool of workers with the journal of what they found.

    Args:
        base: A build of the same model: its engine runs the candidates.
        pool: The workers.
        journal: What is known.
        judge: Scores candidates.
        deadline: When to begin nothing more.
        progress: Called with (stage, done, total).
        tag: Tells trials of a retrained model from those of the model as it came; empty for the latter.
    """

    base: Built
    pool: Pool
    journal: Journal
    judge: Judge
    deadline: Deadline
    progress: Progress
    tag: str = ""
    counts: Counts = field(default_factory=Counts)

    def ask(self, trials: Sequence[Trial], stage: str) -> list[dict[str, Any] | None]:
        """Return the facts of each trial, from the journal or from the workers; None where the time did not suffice.

        A recipe that cannot be carried out gives {"refused": why}.
        """
        keys = [key_of(trial, self.tag) for trial in trials]
        open_ = [number for number, key in enumerate(keys) if key not in self.journal]
        self.counts.known += len(trials) - len(open_)
        done = len(trials) - len(open_)
        self.progress(stage, done, len(trials))
        for finished in self.pool.run([trials[number] for number in open_], self.deadline):
            number = open_[finished.number]
            facts = _facts(finished.answer)
            self.journal.add(keys[number], trials[number].kind, facts, finished.seconds)
            self.counts.ran += 1
            done += 1
            self.progress(stage, done, len(trials))
        return [self.journal.get(key) for key in keys]

    def check(self, candidates: Sequence[Candidate], stage: str) -> Iterator[Candidate]:
        """Yield the candidates in order with their verdicts, as far as the time suffices.

        As many as there are workers are compressed ahead; the next ones are begun when the caller asks for more.
        """
        self.progress(stage, 0, len(candidates))
        for start in range(0, len(candidates), self.pool.workers):
            group = candidates[start : start + self.pool.workers]
            known = self._compressed(group)
            for number, candidate in enumerate(group):
                judged = self._judged(candidate, known.get(number))
                if judged is None:
                    return
                self.progress(stage, start + number + 1, len(candidates))
                yield judged

    def check_draft(self, candidate: Candidate, made: Draft) -> Candidate:
        """Return the candidate with the verdict on integers that are there already; nothing is kept of them."""
        facts = facts_of(made)
        self.counts.ran += 1
        return _with_facts(candidate, facts | self._scored(made.program), self.judge)

    def _key(self, candidate: Candidate) -> str:
        return key_of(Compress(recipe=candidate.recipe), self.tag, self.judge.digest, self.base.session.name)

    def _compressed(self, group: Sequence[Candidate]) -> dict[int, tuple[Answer | IntactError, float]]:
        """The programs of those candidates that the journal has no scores of."""
        numbers = [number for number, candidate in enumerate(group) if self._key(candidate) not in self.journal]
        trials = [Compress(recipe=group[number].recipe) for number in numbers]
        found = self.pool.run(trials, self.deadline) if trials else ()
        return {numbers[done.number]: (done.answer, done.seconds) for done in found}

    def _judged(self, candidate: Candidate, compressed: tuple[Answer | IntactError, float] | None) -> Candidate | None:
        key = self._key(candidate)
        if key in self.journal:
            self.counts.known += 1
        elif compressed is None:
            return None
        else:
            answer, seconds = compressed
            facts = _facts(answer)
            if isinstance(answer, Answer) and answer.program is not None:
                facts |= self._scored(answer.program)
            self.journal.add(key, "check", facts, seconds)
            self.counts.ran += 1
        return _with_facts(candidate, self.journal[key], self.judge)

    def _scored(self, program: Program) -> dict[str, Any]:
        """The scores of an integer program on the engine that was chosen for the base build."""
        session = self.base.session
        try:
            loaded = engine.find()[session.engine].load(program, engine.Options(), session.variant)
        except EngineError as error:
            return {"refused": f"{session.name} cannot run it: {error.message}"}
        predict = Predictor(
            inputs=self.base.inputs, outputs=self.base.outputs, run=loaded.run, rows_apart=self.base.rows_apart
        )
        return {"scores": _packed(self.judge.scores(predict))}


def _facts(answer: Answer | IntactError) -> dict[str, Any]:
    """What the journal keeps; an engine that died and data that do not fit are no property of the recipe."""
    if isinstance(answer, Answer):
        return dict(answer.facts)
    if isinstance(answer, EngineError | DataError):
        raise answer
    return {"refused": answer.message}


def _with_facts(candidate: Candidate, facts: Mapping[str, Any], judge: Judge) -> Candidate:
    if "refused" in facts:
        return replace(candidate, refused=facts["refused"])
    return replace(
        candidate,
        measured_error=facts["error"],
        same=facts["same"],
        bytes=facts["bytes"],
        verdict=judge.verdict(_unpacked(facts["scores"], judge.float_scores.shape)),
    )


def _packed(scores: Array) -> str:
    return base64.b64encode(zlib.compress(scores.astype("<f8").tobytes())).decode()


def _unpacked(text: str, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f8").reshape(shape if not shape else -1)
