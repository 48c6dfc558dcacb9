import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from intact.compress.check import MIN_CHANGED, MIN_EXAMPLES, Outcome, compare, student_quantile, tango
from intact.errors import DataError, UsageError

Z95 = NormalDist().inv_cdf(0.95)


def paired(n: int, lost: int, gained: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n pairs of 0/1 scores, of which so many change either way."""
    before, after = np.ones(n), np.ones(n)
    after[:lost] = 0
    before[lost : lost + gained] = 0
    return before, after


# Tango's interval


def constrained_statistic(gained: int, lost: int, n: int, delta: float) -> float:
    """Score statistic with the nuisance parameter maximised numerically instead of in closed form."""

    def unlikelihood(rate_lost: float) -> float:
        rates = (rate_lost + delta, rate_lost, 1 - 2 * rate_lost - delta)
        counts = (gained, lost, n - gained - lost)
        return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, rates, strict=True) if k)

    low, high = max(0.0, -delta), (1 - delta) / 2
    rate = optimize.minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (gained - lost - n * delta) / math.sqrt(n * (2 * rate + delta - delta**2))


@given(st.integers(0, 15), st.integers(0, 15), st.integers(30, 60))
@settings(max_examples=60, deadline=None)
def test_tango_bounds_invert_the_score_test(gained: int, lost: int, n: int) -> None:
    low, high = tango(gained, lost, n, Z95)
    assert -1 <= low < (gained - lost) / n < high <= 1
    assert constrained_statistic(gained, lost, n, low) == pytest.approx(Z95, abs=2e-4)
    assert constrained_statistic(gained, lost, n, high) == pytest.approx(-Z95, abs=2e-4)


@pytest.mark.parametrize("n", [10, 100, 10_000])
def test_no_discordant_pair_is_no_proof_of_equality(n: int) -> None:
    low, high = tango(0, 0, n, Z95)
    assert high == pytest.approx(Z95**2 / (n + Z95**2))  # close to the rule of three
    assert low == pytest.approx(-high)


def test_all_pairs_discordant_stays_within_minus_one_and_one() -> None:
    low, high = tango(0, 10, 10, Z95)
    assert low == pytest.approx(-1)
    assert -1 < high < 0


@given(st.integers(0, 20), st.integers(0, 20), st.integers(40, 1000))
def test_swapping_the_models_mirrors_the_interval(gained: int, lost: int, n: int) -> None:
    low, high = tango(gained, lost, n, Z95)
    assert tango(lost, gained, n, Z95) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("rates", [(0.02, 0.02), (0.01, 0.05), (0.1, 0.1), (0.0, 0.04)])
@pytest.mark.parametrize("n", [50, 200])
def test_each_tango_bound_covers_with_about_its_confidence(n: int, rates: tuple[float, float]) -> None:
    # exact coverage: the sum over every possible outcome, no simulation
    truth = rates[0] - rates[1]
    below = above = 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            chance = stats.multinomial.pmf([gained, lost, n - gained - lost], n, [*rates, 1 - sum(rates)])
            if chance > 1e-9:
                low, high = tango(gained, lost, n, Z95)
                below, above = below + chance * (low <= truth), above + chance * (high >= truth)
    assert below > 0.93
    assert above > 0.93


# Student's t


@pytest.mark.parametrize("probability", [0.75, 0.9, 0.95, 0.975, 0.995])
def test_student_quantile_is_exact_to_a_millionth(probability: float) -> None:
    z = NormalDist().inv_cdf(probability)
    for freedom in (MIN_EXAMPLES - 1, 40, 100, 1000, 10**6):
        assert student_quantile(z, freedom) == pytest.approx(stats.t.ppf(probability, freedom), abs=1e-6)


def test_other_scores_get_the_paired_t_interval() -> None:
    generator = np.random.default_rng(1)
    before = generator.normal(size=80)
    after = before + generator.normal(-0.01, 0.05, size=80)
    verdict = compare(before, after, 0.1)
    wanted = stats.ttest_rel(after, before).confidence_interval(0.90)
    assert verdict.method == "paired Student t"
    assert verdict.interval == pytest.approx((wanted.low, wanted.high), abs=1e-8)
    assert verdict.difference == pytest.approx((after - before).mean())
    assert (verdict.lost, verdict.gained) == ((after < before).sum(), (after > before).sum())


def test_no_more_than_one_in_twenty_passes_at_exactly_the_budget() -> None:
    # non-inferiority at its edge: the true drop is the budget, a pass is the error
    generator = np.random.default_rng(2)
    trials = 2000
    proportions = sum(
        compare(*paired(400, *generator.multinomial(400, [0.06, 0.02, 0.92])[:2]), 0.04).outcome is Outcome.PASS
        for _ in range(trials)
    )
    means = sum(
        compare(np.zeros(40), generator.normal(-0.04, 0.3, size=40), 0.04).outcome is Outcome.PASS
        for _ in range(trials)
    )
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert proportions / trials < limit
    assert means / trials < limit


# outcomes


def test_a_small_change_on_many_examples_passes() -> None:
    verdict = compare(*paired(10_000, 20, 18), 0.005)
    assert verdict.outcome is Outcome.PASS
    assert verdict.method.startswith("Tango")
    assert verdict.interval is not None
    assert verdict.interval[0] >= -0.005
    assert (verdict.examples, verdict.lost, verdict.gained) == (10_000, 20, 18)
    assert verdict.needed_examples is None
    assert verdict.reason.startswith(
        "the metric drops by 0.0002, budget 0.005; with 95 % confidence the drop is at most"
    )


def test_a_large_drop_fails() -> None:
    verdict = compare(*paired(1000, 100, 10), 0.005)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.interval is not None
    assert verdict.interval[1] < -0.005
    assert "the drop is at least" in verdict.reason


def test_identical_scores_on_few_examples_are_inconclusive_and_say_how_many_would_do() -> None:
    verdict = compare(*paired(100, 0, 0), 0.005)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.needed_examples == math.ceil(Z95**2 * 0.995 / 0.005)
    assert "about 539 examples would decide" in verdict.reason
    assert compare(*paired(539, 0, 0), 0.005).outcome is Outcome.PASS
    assert compare(*paired(538, 0, 0), 0.005).outcome is Outcome.INCONCLUSIVE


@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.01, 0.05, 0.1]))
@settings(deadline=None)
def test_the_needed_number_decides_and_one_less_does_not(lost: int, gained: int, max_drop: float) -> None:
    verdict = compare(*paired(100, lost, gained), max_drop)
    if verdict.needed_examples is None:
        return

    def decided(n: int) -> bool:
        low, high = tango(gained * n / 100, lost * n / 100, n, Z95)
        return low >= -max_drop or high < -max_drop

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert decided(verdict.needed_examples)
    assert not decided(verdict.needed_examples - 1)


def test_a_difference_on_the_budget_is_decided_by_no_number() -> None:
    verdict = compare(*paired(1000, 10, 0), 0.01)
    assert verdict.needed_examples is None
    assert "no number of examples would decide" in verdict.reason


def test_one_number_is_decided_by_value_and_says_so() -> None:
    for after, outcome in ((0.795, Outcome.PASS), (0.7949, Outcome.FAIL), (0.9, Outcome.PASS)):
        verdict = compare(0.8, after, 0.005)
        assert verdict.outcome is outcome
        assert verdict.interval is None
        assert (verdict.examples, verdict.lost, verdict.gained) == (0, None, None)
        assert "no interval can be given" in verdict.reason


def test_booleans_and_lists_are_scores() -> None:
    verdict = compare([True, False, True], [True, True, True], 0.5)
    assert verdict.method.startswith("Tango")
    assert verdict.difference == pytest.approx(1 / 3)


# degenerate cases


def test_too_few_other_scores_are_inconclusive() -> None:
    scores = np.linspace(0, 2, MIN_EXAMPLES - 1)
    verdict = compare(scores, scores + 1, 0.5)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.interval is None
    assert verdict.needed_examples == MIN_EXAMPLES
    assert "29 examples are too few" in verdict.reason


def test_equal_differences_get_a_bound_from_the_range_not_a_point() -> None:
    scores = np.linspace(0, 2, 100)
    verdict = compare(scores, scores, 0.01)
    share = Z95**2 / (100 + Z95**2)
    assert verdict.interval == pytest.approx((-2 * share, 2 * share))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.method == "score range, 0 of 100 examples off the median difference"
    assert compare(np.linspace(0, 2, 100_000), np.linspace(0, 2, 100_000), 0.01).outcome is Outcome.PASS


def test_a_handful_of_differing_examples_is_not_left_to_student() -> None:
    before = np.linspace(0, 1, 1000)
    after = before.copy()
    after[:3] -= 0.001
    few = compare(before, after, 0.02)
    assert few.method == "score range, 3 of 1000 examples off the median difference"
    assert few.interval is not None
    student = stats.ttest_rel(after, before).confidence_interval(0.90)
    assert few.interval[0] < student.low
    assert few.interval[1] > student.high
    after[:MIN_CHANGED] -= 0.001
    assert compare(before, after, 0.02).method == "paired Student t"


def test_a_constant_metric_tells_nothing() -> None:
    verdict = compare(np.full(50, 0.5), np.full(50, 0.5), 0.1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "all scores of both models are the same number"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([1.0, math.nan], [1.0, 1.0], "float model hold a NaN"),
        ([1.0, 1.0], [1.0, math.inf], "integer model hold a NaN or an infinity"),
        (0.8, math.nan, "integer model hold a NaN"),
        ([1.0, 1.0], [1.0], "wanted pairs"),
        ([1.0], 1.0, "wanted pairs"),
        ([], [], "has no scores"),
        ([[1.0]], [[1.0]], "wanted one number per example"),
    ],
)
def test_scores_that_are_no_pairs_of_numbers_are_refused(before: object, after: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare(before, after, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_drop", [-0.1, math.nan, math.inf])
def test_budgets_that_are_none_are_refused(max_drop: float) -> None:
    with pytest.raises(UsageError, match="max_drop"):
        compare([1.0], [1.0], max_drop)


@pytest.mark.parametrize("confidence", [0.5, 1.0, 0.999, math.nan])
def test_confidences_out_of_range_are_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        compare([1.0], [1.0], 0.1, confidence=confidence)
