import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from t5distill.evaluate.statistics import paired_bootstrap, wilson


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
