"""How candidates are judged: the user's `evaluate` on held-out data, or agreement with the float model without one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.compress.check import Outcome, Verdict, compare
from intact.errors import IntactError, UsageError
from intact.pipeline.predict import Predictor
from intact.pipeline.spec import Evaluate
from intact.tuning.material import Piece

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Compares integer models with the float one.

    Args:
        evaluate: Gives scores of a model.
        float_scores: Of the float model: one an example, or one number.
        max_drop: The budget.
        remark: What a reader must know of how it judges; empty where `evaluate` is the user's own.
    """

    evaluate: Evaluate
    float_scores: Array
    max_drop: float
    remark: str = ""

    @property
    def digest(self) -> str:
        """Digest of the float scores: another `evaluate`, or other test data, give another."""
        return hashlib.sha256(self.float_scores.astype(np.float64).tobytes()).hexdigest()

    def scores(self, predict: Predictor) -> Array:
        """Score a model.

        Raises:
            UsageError: `evaluate` raised.
            DataError: Its scores are no finite numbers, one an example.
        """
        return score(self.evaluate, predict, self.max_drop)

    def verdict(self, scores: Array) -> Verdict:
        """Compare the scores of an integer model with the float one's."""
        return compare(self.float_scores, scores, self.max_drop)


def judge(evaluate: Evaluate | None, reference: Predictor, held: Sequence[Piece], max_drop: float) -> Judge:
    """Return the judge of a model, its float scores taken.

    Args:
        evaluate: The user's, or None to judge by agreement with the float model on `held`.
        reference: The float model.
        held: Inputs that no trial has seen; needed without `evaluate`.
        max_drop: The budget.

    Raises:
        UsageError: `evaluate` raised; or the budget is such that not even an unchanged model would pass.
        DataError: Scores that are no finite numbers.
    """
    remark = ""
    if evaluate is None:
        rows = sum(len(next(iter(piece.values()))) for piece in held)
        evaluate = agreement(reference, held)
        remark = f"there is no evaluate function: judged by agreement with the float model on {rows} held-out inputs"
    found = Judge(
        evaluate=evaluate, float_scores=score(evaluate, reference, max_drop), max_drop=max_drop, remark=remark
    )
    _refuse_empty(found)
    _refuse_undecidable(found)
    return found


def score(evaluate: Evaluate, predict: Predictor, max_drop: float) -> Array:
    """Call `evaluate`, and check what it returns."""
    try:
        given = evaluate(predict)
    except IntactError:
        raise
    except Exception as error:
        raise UsageError(f"evaluate raised {type(error).__name__}: {error}", hint="see the cause") from error
    compare(given, given, max_drop)  # refuses what is not finite, not one-dimensional or empty
    return np.asarray(given, np.float64)


def _refuse_empty(found: Judge) -> None:
    """Refuse a budget that any model would keep: scores that cannot fall so far."""
    metric = float(found.float_scores.mean())
    if found.float_scores.min() >= 0 and metric <= found.max_drop:
        raise UsageError(
            f"the float model's own metric is {metric:.4g}, and the budget {found.max_drop:g}: any model would keep it",
            hint="check evaluate and the float model, or lower --max-drop",
        )


def _refuse_undecidable(found: Judge) -> None:
    """Refuse a budget that a model without a single changed answer would not be seen to keep."""
    same = found.verdict(found.float_scores)
    if same.outcome == Outcome.PASS or (same.interval is None and same.needed_examples is None):
        return
    needed = "" if same.needed_examples is None else f"; about {same.needed_examples:,} would do"
    raise UsageError(
        f"the budget {found.max_drop:g} cannot be shown to be kept with {same.examples} examples, "
        f"even by a model that changes none of them{needed}",
        hint="evaluate on more examples, or raise --max-drop",
    )


def agreement(reference: Predictor, held: Sequence[Piece]) -> Evaluate:
    """Return an `evaluate` whose scores say how far a model's outputs are the float model's, one a row of `held`.

    A row scores 1 or 0 for the same or another greatest score where the model gives rows of scores; else the cosine
    between the outputs, the least over several outputs. The float model itself scores 1 everywhere.
    """
    wanted = [reference.run(piece) for piece in held]

    def evaluate(predict: Any) -> Array:
        given = [predict.run(piece) for piece in held]
        return np.concatenate([_rows(a, b) for a, b in zip(wanted, given, strict=True)])

    return evaluate


def _rows(wanted: Mapping[str, Array], given: Mapping[str, Array]) -> Array:
    alone = next(iter(wanted)) if len(wanted) == 1 else None
    if alone is not None and wanted[alone].ndim == 2 and wanted[alone].shape[1] > 1:
        return np.asarray(wanted[alone].argmax(axis=1) == given[alone].argmax(axis=1), np.float64)
    return np.asarray(np.min([_cosines(wanted[name], given[name]) for name in wanted], axis=0))


def _cosines(first: Array, second: Array) -> Array:
    a, b = (np.atleast_1d(value).reshape(len(np.atleast_1d(value)), -1).astype(np.float64) for value in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    safe = np.where(lengths > 0, lengths, 1.0)
    return np.asarray(np.where(lengths > 0, (a * b).sum(axis=1) / safe, (a == b).all(axis=1)))


def anchored(found: Judge) -> Evaluate:
    """Return an `evaluate` for one build, which scores the float model first: it answers that with the scores it has.

    So a retrained model is compared with the model as it came, and nothing is scored twice.
    """
    answers = iter([found.float_scores])

    def evaluate(predict: Any) -> Any:
        known = next(answers, None)
        return found.evaluate(predict) if known is None else known

    return evaluate
