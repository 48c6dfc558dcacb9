"""Is the integer model no worse than the float one by more than the budget? A paired test with three answers.

Both models are scored on the same examples. With the true mean difference delta = integer - float and the budget m, the
integer model passes when the one-sided lower bound of delta is at least -m, fails when the upper bound is below -m, and
is inconclusive between: a small test set cannot pass by being small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import DataError, UsageError

Bounds = Callable[[float], tuple[float, float]]  # number of examples -> interval, were the rates to stay as seen

MIN_EXAMPLES = 30
"""Below this, scores other than 0/1 give no interval: nothing is known of their distribution."""
MIN_CHANGED = 10
"""Below this many examples off the median difference, the spread has not been seen well enough for Student's t."""
ROUNDING = 1e-12
"""A drop of exactly the budget passes although the difference of two floats is off by a rounding error."""
MOST_EXAMPLES = 10**9
"""An answer that needs more is reported as none."""


class Outcome(StrEnum):
    """What the accuracy check says."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer of the accuracy check and what it stands on.

    Args:
        outcome: pass, fail or inconclusive.
        float_metric: Mean score of the float model.
        integer_metric: Mean score of the integer model.
        difference: integer_metric - float_metric.
        max_drop: The budget, in units of the metric.
        interval: Lower and upper bound of the true difference, or None. Each bound alone holds with `confidence`.
        confidence: One-sided confidence of each bound.
        method: How the interval was had.
        examples: Pairs of scores; 0 when only means were given.
        lost: Examples scored lower by the integer model, None when only means were given.
        gained: Examples scored higher by the integer model, None when only means were given.
        needed_examples: Of an inconclusive outcome, about how many examples would decide if the difference stays as it
            is; None if no number up to 10^9 would.
        reason: The outcome in a sentence.
    """

    outcome: Outcome
    float_metric: float
    integer_metric: float
    difference: float
    max_drop: float
    interval: tuple[float, float] | None
    confidence: float
    method: str
    examples: int
    lost: int | None
    gained: int | None
    needed_examples: int | None
    reason: str


def compare(
    float_scores: ArrayLike, integer_scores: ArrayLike, max_drop: float, *, confidence: float = 0.95
) -> Verdict:
    """Test whether the integer model is non-inferior to the float model.

    Scores of 0 and 1 get Tango's score interval for paired proportions, which stays wide at zero differing examples;
    other scores a paired Student t interval, or, where hardly any example differs, a bound from the range of the
    scores seen.

    Args:
        float_scores: One score per example, higher is better, shape (n,); or a single number.
        integer_scores: The same of the integer model, on the same examples in the same order.
        max_drop: Largest tolerable drop of the mean score, >= 0.
        confidence: One-sided confidence of each bound, above 0.5 up to 0.995.

    Raises:
        DataError: Scores are empty, not finite, not one-dimensional, or of different lengths.
        UsageError: `max_drop` or `confidence` is out of range.

    Source:
        Tango 1998, Statistics in Medicine 17:891-908; Wilson 1927, JASA 22:209-212.
    """
    if not 0 <= max_drop < math.inf:
        raise UsageError(f"max_drop is {max_drop}, wanted a number >= 0")
    if not 0.5 < confidence <= 0.995:
        raise UsageError(f"confidence is {confidence}, wanted a number above 0.5 up to 0.995")
    before, after = _scores(float_scores, "float"), _scores(integer_scores, "integer")
    if before.shape != after.shape:
        raise DataError(f"float model has scores of shape {before.shape}, integer model {after.shape}, wanted pairs")
    verdict = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        float_metric=float(before.mean()),
        integer_metric=float(after.mean()),
        difference=float((after - before).mean()),
        max_drop=float(max_drop),
        interval=None,
        confidence=confidence,
        method="point value",
        examples=before.size if before.ndim else 0,
        lost=int((after < before).sum()) if before.ndim else None,
        gained=int((after > before).sum()) if before.ndim else None,
        needed_examples=None,
        reason="",
    )
    if not before.ndim:
        return _by_value(verdict)
    return _by_interval(verdict, before, after)


def _scores(values: ArrayLike, whose: str) -> NDArray[np.float64]:
    """Return scores as float64, shape (n,) or ()."""
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise DataError(f"scores of the {whose} model have no common shape, wanted one number per example") from error
    if given.dtype.kind not in "fiub":
        raise DataError(
            f"scores of the {whose} model are {given.dtype}, wanted numbers",
            hint="evaluate must return one score per example, or one number",
        )
    scores = given.astype(np.float64)
    if scores.ndim > 1:
        raise DataError(f"scores of the {whose} model have shape {scores.shape}, wanted one number per example")
    if not scores.size:
        raise DataError(f"the {whose} model has no scores", hint="evaluate must return one score per example")
    if not np.isfinite(scores).all():
        raise DataError(f"scores of the {whose} model hold a NaN or an infinity")
    return scores


def _by_value(verdict: Verdict) -> Verdict:
    """Decide on two means alone."""
    outcome = Outcome.PASS if verdict.difference >= -verdict.max_drop - ROUNDING else Outcome.FAIL
    return replace(
        verdict,
        outcome=outcome,
        reason=f"{_change(verdict)}, budget {verdict.max_drop:.3g}; "
        "evaluate returned one number instead of one score per example, so no interval can be given",
    )


def _by_interval(verdict: Verdict, before: NDArray[np.float64], after: NDArray[np.float64]) -> Verdict:
    """Decide on an interval of the mean difference."""
    n = verdict.examples
    z = NormalDist().inv_cdf(verdict.confidence)
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        lost, gained = int((after < before).sum()) / n, int((after > before).sum()) / n
        return _decide(verdict, "Tango score interval, paired proportions", lambda m: tango(gained * m, lost * m, m, z))
    if n < MIN_EXAMPLES:
        return replace(
            verdict,
            method="none",
            needed_examples=MIN_EXAMPLES,
            reason=f"{n} examples are too few for scores other than 0 and 1, wanted {MIN_EXAMPLES} or more",
        )
    change = after - before
    middle = float(np.median(change))
    changed = int((change != middle).sum())
    if changed < MIN_CHANGED:
        reach = float(max(before.max(), after.max()) - min(before.min(), after.min()))
        if reach == 0:
            return replace(verdict, method="none", reason="all scores of both models are the same number")
        return _decide(
            verdict,
            f"score range, {changed} of {n} examples off the median difference",
            lambda m: _range_bounds(middle, changed / n, reach, m, z),
        )
    mean, deviation = verdict.difference, float(change.std(ddof=1))
    return _decide(verdict, "paired Student t", lambda m: _student_bounds(mean, deviation, m, z))


def _decide(verdict: Verdict, method: str, bounds: Bounds) -> Verdict:
    """Put the interval in and read the outcome off it."""
    low, high = bounds(float(verdict.examples))
    verdict = replace(verdict, method=method, interval=(low, high))
    percent = f"{100 * verdict.confidence:g} %"
    said = f"{_change(verdict)}, budget {verdict.max_drop:.3g}"
    if low >= -verdict.max_drop:
        reason = f"{said}; with {percent} confidence the drop is at most {max(-low, 0.0):.3g}"
        return replace(verdict, outcome=Outcome.PASS, reason=reason)
    if high < -verdict.max_drop:
        reason = f"{said}; with {percent} confidence the drop is at least {-high:.3g}"
        return replace(verdict, outcome=Outcome.FAIL, reason=reason)
    needed = _needed(verdict, bounds)
    wanted = f"about {needed:,} examples would decide" if needed else "no number of examples would decide"
    reason = (
        f"{said}; the interval {low:.3g} to {high:.3g} lies on both sides of the budget; {wanted} at this difference"
    )
    return replace(verdict, needed_examples=needed, reason=reason)


def _change(verdict: Verdict) -> str:
    """Name the direction and the size of the change."""
    if verdict.difference == 0:
        return "the metric is unchanged"
    return f"the metric {'drops' if verdict.difference < 0 else 'rises'} by {abs(verdict.difference):.3g}"


def _needed(verdict: Verdict, bounds: Bounds) -> int | None:
    """Return the smallest number of examples that decides, were all rates to stay as seen."""

    def decides(n: int) -> bool:
        low, high = bounds(float(n))
        return low >= -verdict.max_drop or high < -verdict.max_drop

    too_few = verdict.examples
    enough = 2 * too_few
    while not decides(enough):
        too_few, enough = enough, 2 * enough
        if too_few > MOST_EXAMPLES:
            return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if decides(middle) else (middle, enough)
    return enough


def tango(gained: float, lost: float, n: float, z: float) -> tuple[float, float]:
    """Return the bounds of p_gained - p_lost at which the score statistic of the paired proportions is +z and -z.

    Args:
        gained: Pairs (0, 1).
        lost: Pairs (1, 0).
        n: All pairs, > 0.
        z: Normal quantile, > 0.

    Returns:
        Bounds within [-1, 1], to 1e-12; at gained = lost = 0 they are -+ z^2 / (n + z^2).

    Source:
        Tango 1998, Statistics in Medicine 17:891-908, equations (7) to (12).
    """

    def statistic(delta: float) -> float:
        a = 2 * n
        b = -gained - lost + (a - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        rate_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # the constrained maximum likelihood
        variance = n * (2 * rate_lost + delta * (1 - delta))
        return (gained - lost - n * delta) / math.sqrt(variance) if variance > 0 else 0.0

    estimate = (gained - lost) / n
    return _crossing(statistic, z, -1.0, estimate), _crossing(statistic, -z, estimate, 1.0)


def _crossing(falling: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Return where the falling function passes `level` between low and high, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > level else (low, middle)
    return (low + high) / 2


def _range_bounds(middle: float, changed: float, reach: float, n: float, z: float) -> tuple[float, float]:
    """Bound the mean by the share of examples that may be off the median, and how far: |change| <= reach.

    Source:
        Wilson 1927: upper bound of a proportion.
    """
    centre, square = changed + z * z / (2 * n), changed * (1 - changed) / n + z * z / (4 * n * n)
    share = min((centre + z * math.sqrt(square)) / (1 + z * z / n), 1.0)
    return middle - share * (reach + middle), middle + share * (reach - middle)


def _student_bounds(mean: float, deviation: float, n: float, z: float) -> tuple[float, float]:
    """Return mean -+ t * deviation / sqrt(n) with n - 1 degrees of freedom."""
    half = student_quantile(z, n - 1) * deviation / math.sqrt(n)
    return mean - half, mean + half


def student_quantile(z: float, freedom: float) -> float:
    """Return the Student quantile at the probability at which the normal quantile is z.

    Args:
        z: Normal quantile, |z| < 2.58 (probability 0.995).
        freedom: Degrees of freedom, >= 29; the error is then below 1e-6.

    Source:
        Abramowitz and Stegun 1964, 26.7.5.
    """
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
