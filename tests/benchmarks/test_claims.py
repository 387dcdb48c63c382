"""Claims are contrasts of what students answered; an interval decides."""

import json

import numpy as np
import pytest

from benchmarks import claims
from t5distill.evaluate.statistics import Interval, over_seeds
from t5distill.records import Problem, Verdict
from t5distill.report.runs import Arm, Results, Run

PROBLEMS = {
    f"p{i:02}": Problem(
        id=f"p{i:02}",
        benchmark="embedded",
        split="test",
        question="?",
        answer="1",
        kind="numeric",
        meta={"steps": [{}] * (1 + i % 4)},
    )
    for i in range(40)
}


def run_of(right, ids=PROBLEMS):
    """Return a run in which `right[arm][seed][problem]` says who was right."""
    tested = [
        Results(
            arm=arm,
            seed=seed,
            benchmark="embedded",
            scores={},
            verdicts=[
                Verdict(problem_id=i, sample=0, outcome="correct" if hit else "wrong")
                for i, hit in zip(ids, row, strict=True)
            ],
            predictions={},
        )
        for arm, rows in right.items()
        for seed, row in enumerate(rows)
    ]
    plain = {"plan": {}, "students": [], "curation": {}, "chains": {}, "missing": []}
    return Run(
        name="run",
        arms=[Arm(name=arm, label=arm) for arm in right],
        benchmarks=["embedded"],
        seeds=list(range(len(next(iter(right.values()))))),
        tested=tested,
        problems={"embedded": PROBLEMS},
        **plain,
    )


@pytest.fixture
def right():
    rng = np.random.default_rng(3)
    return {arm: rng.random((3, 40)) < rate for arm, rate in (("a", 0.8), ("b", 0.4), ("c", 0.3))}


def test_a_contrast_is_a_weighted_sum_of_accuracies(right):
    claim = claims.Claim("", "", "", {"a": 1, "b": -1, "c": 1})
    interval, accuracy = claims.contrast(run_of(right), claim)
    means = {arm: rows.mean() for arm, rows in right.items()}
    assert interval.estimate == pytest.approx(means["a"] - means["b"] + means["c"])
    assert interval.low < interval.estimate < interval.high
    assert accuracy["b"] == right["b"].mean(axis=1).tolist()


def test_growth_with_steps_is_the_slope_of_least_squares(right):
    claim = claims.Claim("", "", "", {"a": 1, "b": -1}, per_step=True)
    interval, _ = claims.contrast(run_of(right), claim)
    gain = (right["a"].astype(float) - right["b"]).mean(axis=0)
    steps = [len(p.meta["steps"]) for p in PROBLEMS.values()]
    assert interval.estimate == pytest.approx(np.polyfit(steps, gain, 1)[0])


def test_the_interval_of_a_slope_covers_it_as_often_as_it_says():
    """A mean far from zero is no variance of the slope."""
    rng, covered, halves = np.random.default_rng(7), 0, []
    steps = np.tile(np.arange(1.0, 5.0), 50)
    for _ in range(400):
        values = (rng.random((8, 200)) < 0.5 + 0.02 * (steps - 2.5)).astype(float)
        found = over_seeds(claims.growth(values, steps))
        covered += found.low <= 0.02 <= found.high
        halves.append(found.high - found.estimate)
    assert covered / 400 >= 0.93
    # Half of an interval of independent answers; the students' part makes it a little wider.
    assert np.mean(halves) < 1.8 * 1.96 * 0.5 / np.sqrt(8 * 200 * 1.25)
    with pytest.raises(ValueError, match="equally many"):
        claims.growth(values, np.full(200, 2.0))


def test_the_same_answers_in_all_arms_claim_nothing(right):
    same = {"a": right["a"], "b": right["a"]}
    interval, _ = claims.contrast(run_of(same), claims.Claim("", "", "", {"a": 1, "b": -1}))
    assert (interval.low, interval.estimate, interval.high) == (0, 0, 0)
    assert (
        "| not shown |"
        in list(claims.table([(claims.Claim("", "", "", {"a": 1}), interval, {})]))[-1]
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "shown"), (-0.01, 0.2, "not shown"), (-0.2, -0.01, "the opposite")],
)
def test_the_interval_decides(low, high, verdict):
    found = (claims.Claim("It", "X 2022", "", {"a_1": 1}), Interval(0.1, low, high), {"a_1": [0.5]})
    line = list(claims.table([found]))[-1]
    assert line.startswith("| It | X 2022 | a 1 50.0 | +10.0 (") and line.endswith(f"| {verdict} |")


def test_other_problems_are_refused(right):
    run = run_of(right)
    odd = run_of({"b": right["b"]}, ids=[f"q{i}" for i in range(40)])
    run.tested[3:6] = odd.tested
    with pytest.raises(ValueError, match="of b answered other problems"):
        claims.contrast(run, claims.Claim("", "", "", {"a": 1, "b": -1}))


def test_every_claim_names_arms_of_its_recipe():
    import argparse

    from t5distill.reproduce import command

    for claim in claims.CLAIMS:
        given = {"gin_bindings": [], "teacher": None, "model": None, "tiny": True}
        _, experiment = command.read(claim.recipe, argparse.Namespace(**given))
        rows = {row for arm in experiment.arms for row, _, _ in arm.rows()}
        assert set(claim.weights) <= rows and sum(claim.weights.values()) == 0
        assert claim.benchmark in experiment.test_benchmarks()


@pytest.mark.soak
def test_every_claim_is_measured(tmp_path, capsys):
    out = tmp_path / "claims.json"
    work = ["--workdir", str(tmp_path / "runs"), "--seeds", "2", "--out", str(out)]
    assert claims.main([*work, "--sizes", "300", "20", "20", "10", "--train-steps", "4"]) == 0
    rows = json.loads(out.read_text())["claims"]
    assert len(rows) == len(claims.CLAIMS)
    assert all(row["low"] <= row["estimate"] <= row["high"] for row in rows)
    assert capsys.readouterr().out.count("shown |") + 1 > len(rows) - 1
