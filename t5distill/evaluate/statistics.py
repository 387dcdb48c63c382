"""How sure a figure is: intervals of one accuracy and of the difference between two."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# The 97.5 % point of the standard normal distribution.
Z_95 = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def accuracy(self) -> dict[str, float]:
        """Return it as scores.json writes an accuracy."""
        return {"accuracy": self.estimate, "low": self.low, "high": self.high}

    def within(self, low: float, high: float = 1.0) -> Interval:
        """Return it cut at what the estimated figure can be.

        The t-distribution of two or three students reaches far beyond that.
        """
        return Interval(self.estimate, max(self.low, low), min(self.high, high))


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion and its 95 % score interval (Wilson 1927).

    Unlike the normal approximation it stays inside [0, 1] and does not collapse to a point at 0
    or at all of `trials`, where a small student often is.

    Args:
      successes: how many of the trials succeeded.
      trials: how many there were; with none the interval is all of [0, 1].
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    p = successes / trials
    shrink = 1.0 + Z_95**2 / trials
    centre = (p + Z_95**2 / (2 * trials)) / shrink
    half = Z_95 / shrink * math.sqrt(p * (1 - p) / trials + Z_95**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(p, low, high)


def paired_bootstrap(
    correct: Sequence[bool], baseline: Sequence[bool], *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Return the difference in accuracy of two runs on the same problems, with its 95 % interval.

    Problems are resampled, each with both runs' results, so that what is hard for both cancels out
    (Efron and Tibshirani 1993, percentile method).

    Args:
      correct: whether the run solved problem i, `[problems]`.
      baseline: the same of the run compared with, `[problems]`.
      resamples: how many bootstrap samples.
      seed: of the resampling.
    """
    if len(correct) != len(baseline) or not len(correct):
        raise ValueError(f"{len(correct)} and {len(baseline)} results: not pairs")
    n = len(correct)
    # A problem's difference is -1, 0 or 1, so a resample is one multinomial draw of three counts.
    difference = np.asarray(correct, np.int64) - np.asarray(baseline, np.int64)
    worse, better = int((difference < 0).sum()), int((difference > 0).sum())
    rng = np.random.default_rng(seed)
    shares = [worse / n, (n - worse - better) / n, better / n]
    counts = rng.multinomial(n, shares, size=resamples)
    means = (counts[:, 2] - counts[:, 0]) / n
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval((better - worse) / n, float(low), float(high))


def over_seeds(values: np.ndarray) -> Interval:
    """Return the mean over students and problems, with a 95 % interval that counts both.

    Another seed gives another student, another test set other problems; a claim about a method is
    about neither. Every student answers every problem, so the mean varies with both: half of the
    interval is the root of the squared halves of the t-intervals of the S students' means and of
    the n problems' means. What is left over counts in both, which makes it a little too wide.

    Args:
      values: correct (1) or not (0), or the difference of two methods (-1, 0, 1), of the student
        of seed s on problem i, `[S, n]`, S at least 2.

    Raises:
      ValueError: fewer than two seeds or problems.
    """
    from scipy import stats

    values = np.asarray(values, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"{values.shape}: wanted [seeds, problems], two of each at least")
    seeds, problems = values.shape
    parts = (
        values.mean(axis=1).var(ddof=1) / seeds,
        values.mean(axis=0).var(ddof=1) / problems,
    )
    mean = float(values.mean())
    half = math.hypot(
        *(
            float(stats.t.ppf(0.975, count - 1)) * math.sqrt(part)
            for part, count in zip(parts, (seeds, problems), strict=True)
        )
    )
    return Interval(mean, mean - half, mean + half)
