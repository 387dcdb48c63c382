import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from t5distill.evaluate.statistics import over_seeds, paired_bootstrap, wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case):
    k, n = case
    ours = wilson(k, n)
    theirs = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert ours.low <= ours.estimate <= ours.high


def test_wilson_without_trials_says_nothing():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_wilson_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="3 successes of 2 trials"):
        wilson(3, 2)


def test_paired_bootstrap_equals_scipy():
    rng = np.random.default_rng(3)
    a = rng.random(400) < 0.45
    b = rng.random(400) < 0.30
    ours = paired_bootstrap(a.tolist(), b.tolist(), resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (a.astype(float) - b.astype(float),),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    assert ours.estimate == pytest.approx(a.mean() - b.mean())
    # Both are Monte Carlo: the interval's ends agree within a few of their standard errors.
    assert ours.low == pytest.approx(theirs.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.high, abs=0.004)


def test_paired_bootstrap_of_equal_runs_is_zero():
    result = paired_bootstrap([True, False, True], [True, False, True])
    assert (result.estimate, result.low, result.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("sides", [([True], []), ([], [])])
def test_paired_bootstrap_refuses_what_is_not_paired(sides):
    with pytest.raises(ValueError, match="not pairs"):
        paired_bootstrap(*sides)


def test_over_seeds_is_the_t_interval_where_only_seeds_differ():
    means = np.array([0.3, 0.5, 0.4, 0.45])
    ours = over_seeds(np.repeat(means[:, None], 1000, axis=1))
    theirs = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_over_seeds_is_the_t_interval_where_only_problems_differ():
    right = np.random.default_rng(0).random(300) < 0.4
    ours = over_seeds(np.stack([right] * 3))
    theirs = scipy.stats.ttest_1samp(right.astype(float), 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


@pytest.mark.parametrize("seed_sd, problem_sd", [(0.0, 2.0), (0.5, 1.0), (1.0, 0.3), (2.0, 2.0)])
def test_over_seeds_covers_the_truth_as_often_as_it_says(seed_sd, problem_sd):
    """Students and problems drawn anew each time; the truth is known."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(600):
        seeds, problems = rng.normal(0, seed_sd, 3), rng.normal(0, problem_sd, 500)
        logits = seeds[:, None] + problems[None, :]
        found = over_seeds(rng.random((3, 500)) < 1 / (1 + np.exp(-logits)))
        covered += found.low <= 0.5 <= found.high  # by symmetry
    assert covered / 600 > 0.93


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (4,)])
def test_over_seeds_refuses_a_single_seed(shape):
    with pytest.raises(ValueError, match="two of each"):
        over_seeds(np.zeros(shape))
