"""The numbers of a report, against hand-worked values and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from t5distill.records import Chain, Prediction, Problem, Verdict
from t5distill.report import across, costs, equations, figures, predictions, sentences
from t5distill.report.runs import Arm, Results, Run, Student

ANSWER = Arm(name="answer", label="answers", role="answer_only", style="answer")
COT = Arm(name="cot", label="chains", role="distilled", style="cot")
PLAN = {"main": "cot", "baseline": "answer", "question": "Which?"}


def student(arm, seed, right, *, texts=None, scores=None, outcome="wrong"):
    """Return a student that has some problems right: a text of 1 and 0."""
    verdicts = [
        Verdict(problem_id=f"p{i}", sample=0, outcome="correct" if one == "1" else outcome)
        for i, one in enumerate(right)
    ]
    found = {
        (f"p{i}", 0): Prediction(problem_id=f"p{i}", text=text, style="cot")
        for i, text in enumerate(texts or ())
    }
    return Results(
        arm=arm, seed=seed, benchmark="toy", scores=scores or {}, verdicts=verdicts,
        predictions=found,
    )  # fmt: skip


def a_run(*results, arms=(ANSWER, COT), plan=None, students=(), chains=None, problems=None):
    return Run(
        name="run", plan=PLAN if plan is None else plan, arms=list(arms), benchmarks=["toy"],
        seeds=[0, 1], students=list(students), tested=list(results),
        problems={"toy": problems or {}}, curation={}, chains=chains or {}, missing=[],
    )  # fmt: skip


def test_one_student_has_wilsons_interval():
    found, how = figures.interval(np.array([[1] * 83 + [0] * 17]))
    ends = stats.binomtest(83, 100).proportion_ci(method="wilson")
    assert (found.estimate, found.low, found.high) == pytest.approx((0.83, ends.low, ends.high))
    assert how == "Wilson, one student"


def halves(values):
    """Return the halves of scipy's t-intervals over students and over problems."""
    found = []
    for means in (values.mean(axis=1), values.mean(axis=0)):
        low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means))
        found.append((high - low) / 2)
    return found


def test_several_students_have_an_interval_over_students_and_problems():
    values = (np.random.default_rng(1).random((4, 50)) < [[0.5], [0.6], [0.4], [0.55]]).astype(int)
    found, _ = figures.interval(values)
    half = math.hypot(*halves(values))
    mean = values.mean()
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (mean, mean - half, mean + half)
    )


@pytest.mark.parametrize("right", [0, 1])
def test_students_without_variance_have_no_interval_of_nothing(right):
    found, how = figures.interval(np.full((3, 20), right))
    ends = stats.binomtest(20 * right, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert how == "Wilson, 3 students alike"


def test_an_interval_of_a_share_stays_among_shares():
    found, _ = figures.interval(np.array([[0, 0, 0, 1], [0, 0, 0, 0]]))
    assert found.low == 0.0 and found.high <= 1.0


def test_a_difference_pairs_seeds_and_problems():
    ones = ["1101101110", "1111100110", "0111111011"]
    others = ["0100101010", "1001100100", "0101010010"]
    found = figures.difference(
        [student("cot", s, r) for s, r in enumerate(ones)],
        # In another order, and with a seed that has no partner.
        [student("answer", s, r) for s, r in reversed([*enumerate(others), (7, "1" * 10)])],
    )
    a, b = (np.array([[int(c) for c in row] for row in side]) for side in (ones, others))
    half = math.hypot(*halves(a - b))
    mean = (a - b).mean()
    assert found["difference"] == pytest.approx(mean)
    assert (found["low"], found["high"]) == pytest.approx((mean - half, min(1, mean + half)))
    assert (found["accuracy"], found["against_accuracy"]) == pytest.approx((a.mean(), b.mean()))
    assert found["seeds"] == [0, 1, 2] and found["n"] == 10
    assert (found["better"], found["worse"]) == (int((a > b).sum()), int((a < b).sum()))


def test_a_difference_of_one_seed_is_the_paired_bootstrap():
    rng = np.random.default_rng(0)
    a, b = rng.random(200) < 0.6, rng.random(200) < 0.5
    found = figures.difference(
        *([student("x", 0, "".join(map(str, map(int, side))))] for side in (a, b))
    )
    ends = stats.bootstrap(
        (a.astype(float) - b,), np.mean, method="percentile", n_resamples=9999, rng=0
    ).confidence_interval
    assert found["difference"] == pytest.approx(a.mean() - b.mean())
    assert (found["low"], found["high"]) == pytest.approx((ends.low, ends.high), abs=0.01)
    assert found["shown"] == (found["low"] > 0 or found["high"] < 0)


def test_students_of_other_problems_are_not_compared():
    assert figures.difference([student("a", 0, "101")], [student("b", 0, "10")]) is None
    assert figures.difference([student("a", 0, "101")], [student("b", 1, "101")]) is None


def test_a_seed_over_other_problems_is_left_out_and_named():
    report = figures.figures(a_run(student("cot", 0, "1010"), student("cot", 1, "10")))
    assert report["accuracy"][0]["seeds"] == [0] and report["accuracy"][0]["n"] == 4
    assert "seeds [1] are over other problems" in report["missing"][0]


def test_the_answer_says_what_is_shown_and_what_is_not():
    shown = figures.figures(a_run(student("cot", 0, "1" * 20), student("answer", 0, "0" * 20)))
    assert shown["answer"]["sentence"] == (
        "On 20 problems of toy, chains reach 100.0 % and answers 0.0 %: +100.0 points (95 % "
        "interval +100.0 to +100.0, one student each)."
    )
    alike = figures.figures(a_run(student("cot", 0, "1100"), student("answer", 0, "1001")))
    assert "includes zero: a difference is not shown." in alike["answer"]["sentence"]
    assert alike["answer"]["difference"]["shown"] is False
    lone = figures.figures(a_run(student("answer", 0, "1001")))
    assert lone["answer"]["sentence"] == "Not answered: on toy there are no scores of chains yet."


def test_a_tiny_run_claims_nothing_for_the_paper():
    results = student("cot", 0, "1" * 20), student("answer", 0, "0" * 20)
    assert figures.figures(a_run(*results))["answer"]["note"] == ""
    tiny = figures.figures(a_run(*results, plan={**PLAN, "tiny": True}))
    assert "nothing of the paper's own" in tiny["answer"]["note"]


def test_without_a_plan_each_is_compared_with_each():
    arms = [Arm(name=name, label=name, role="") for name in "abc"]
    run = a_run(*(student(a.name, None, "1010") for a in arms), arms=arms, plan={})
    pairs = [(d["arm"], d["against"]) for d in figures.figures(run)["differences"]]
    assert pairs == [("b", "a"), ("c", "a"), ("c", "b")]


def test_in_a_sweep_equal_places_are_compared():
    arms = [
        Arm(name=f"{role}{x}", label="", role=role, x=x)
        for x in (10.0, 100.0)
        for role in ("answer_only", "distilled")
    ]
    plan = {"main": "distilled100.0", "baseline": "answer_only100.0",
            "sweep": {"label": "data", "unit": "%", "log": True}}  # fmt: skip
    report = figures.figures(
        a_run(*(student(a.name, 0, "1010") for a in arms), arms=arms, plan=plan)
    )
    assert {(d["arm"], d["against"]) for d in report["differences"]} == {
        ("distilled10.0", "answer_only10.0"),
        ("distilled100.0", "answer_only100.0"),
    }
    lines = {line["role"]: [p["x"] for p in line["points"]] for line in report["sweep"]["lines"]}
    assert lines == {"answer_only": [10, 100], "distilled": [10, 100]}


def test_outcomes_are_shares_over_all_students():
    report = figures.figures(
        a_run(student("cot", 0, "1100"), student("cot", 1, "1000", outcome="timeout"))
    )
    found = {o: s for o, s in report["accuracy"][0]["outcomes"].items() if s}
    assert found == {"correct": 3 / 8, "wrong": 2 / 8, "timeout": 3 / 8}


def test_rules_are_means_and_say_nothing_of_programs():
    scores = [{rule: share for rule in figures.RULES} for share in (0.2, 0.4)]
    run = a_run(*(student("cot", i, "10", scores=s) for i, s in enumerate(scores)))
    assert figures.figures(run)["accuracy"][0]["strict_match"] == pytest.approx(0.3)
    run = a_run(student("cot", 0, "10", scores={**scores[0], "executed": 1.0}))
    assert figures.figures(run)["accuracy"][0]["strict_match"] is None


def test_votes_are_means_with_the_widest_ends():
    curves = [
        [{"k": 1, "accuracy": 0.2, "low": 0.1, "high": 0.3},
         {"k": 2, "accuracy": 0.4, "low": 0.3, "high": 0.5}],
        [{"k": 1, "accuracy": 0.4, "low": 0.2, "high": 0.6}],
    ]  # fmt: skip
    run = a_run(*(student("cot", i, "10", scores={"vote_curve": c}) for i, c in enumerate(curves)))
    (row,) = figures.figures(run)["votes"]
    assert row["points"] == [{"k": 1, "accuracy": pytest.approx(0.3), "low": 0.1, "high": 0.6}]


def test_the_teacher_is_scored_by_all_its_samples():
    report = {"verdicts": {"correct": 70, "wrong": 25, "truncated": 5, "None": 9}, "kept": 60,
              "in": 100, "rejected": {"wrong": 25, "leak": 10}}  # fmt: skip
    (row,) = figures.teachers({"set": report, "empty": {}})
    ends = stats.binomtest(70, 100).proportion_ci(method="wilson")
    assert (row["accuracy"], row["low"], row["high"], row["n"]) == pytest.approx(
        (0.7, ends.low, ends.high, 100)
    )
    assert row["kept"] == 60 and row["rejected"] == {"wrong": 25, "leak": 10}


def test_a_published_number_without_a_source_is_not_verified():
    entries = [
        {"label": "a", "accuracy": 0.2, "source": "Table 1", "verified": True},
        {"label": "b", "accuracy": 0.2, "verified": True},
        {"label": "c", "accuracy": 0.2, "source": "memory", "verified": "yes"},
    ]
    report = figures.figures(a_run(student("cot", 0, "10"), plan={**PLAN, "published": entries}))
    assert [(r["source"], r["verified"]) for r in report["published"]] == [
        ("Table 1", True),
        ("no source given", False),
        ("memory", False),
    ]


TEXTS = [
    "2 + 3 = 5. Then 5 * 2 = 10. The answer is 10.",
    "2 + 3 = 6. Then 6 * 2 = 12. The answer is 12.",
    "4 - 1 = 2. So 2 + 2 = 5. The answer is 5.",
    "The answer is 7.",
]


def test_equations_are_counted_by_their_place():
    found = equations.consistency([student("cot", 0, "1000", texts=TEXTS)])
    assert found is not None
    assert found["equations"] == 6 and found["true"] == pytest.approx(3 / 6)
    assert found["by_place"] == [
        {"place": 1, "n": 3, "true": pytest.approx(1 / 3)},
        {"place": 2, "n": 3, "true": pytest.approx(2 / 3)},
    ]
    assert found["all_true_of_correct"] == {"n": 1, "share": 1.0}
    assert found["all_true_of_wrong"] == {"n": 2, "share": 0.0}
    assert equations.consistency([student("cot", 0, "1", texts=["ans = 2 + 2"])]) is None


def test_false_equations_are_marked_where_a_page_counts():
    text = "\U0001f34e\U0001f34e apples: 4  -  1 =  2. So 2 + 3 = 5."
    prediction = Prediction(problem_id="p", text=text, style="cot")
    count, start, end, exact = predictions.marks(prediction)
    units = text.encode("utf-16-le")
    assert units[2 * start : 2 * end].decode("utf-16-le") == "4  -  1 =  2"
    assert (count, exact) == (2, "3")
    assert predictions.marks(Prediction(problem_id="p", text="x = 1 + 2", style="program")) == [0]


def test_costs_come_from_cards():
    card = {
        "parameters": 300, "training": {"steps": 5, "seconds": 2.5, "target_tokens": 40},
        "spend": {"tokens": 10, "money": None, "requests": 5},
        "started": "2026-01-01T00:00:00", "ended": "2026-01-01T00:01:00+00:00",
        "selection": {"step": 3, "by": "loss", "selected": "2026-01-01T00:00:30"},
        "tests": [{"read": "2026-01-01T00:00:29+00:00"}],
    }  # fmt: skip
    (row,) = costs.students([Student(arm="cot", seed=0, card=card, curve=[]),
                             Student(arm="cot", seed=1, card={}, curve=[])])  # fmt: skip
    assert (row["parameters"], row["steps"], row["training_s"]) == (300, 5, 2.5)
    assert row["wall_s"] == 60.0 and row["teacher_money"] is None
    assert row["chosen_before_test"] is False


def test_curves_are_thinned_and_keep_their_ends():
    curve = [{"step": i, "loss": 1 / (i + 1)} for i in range(1001)]
    (row,) = costs.curves([Student(arm="cot", seed=0, card={}, curve=curve)])
    assert row["points"][0] == [0, 1.0] and row["points"][-1][0] == 1000
    assert len(row["points"]) <= 202


def test_runs_of_several_sizes_make_a_curve():
    def report(name, parameters, right):
        card = {"parameters": parameters, "training": {"examples": 5}}
        run = a_run(
            student("cot", 0, right), student("answer", 0, "0000"),
            students=[Student(arm=a, seed=0, card=card, curve=[]) for a in ("cot", "answer")],
        )  # fmt: skip
        return {**figures.figures(run), "run": name}

    (curve,) = across.across([report("large", 1000, "1110"), report("small", 10, "1000")])
    assert curve["label"] == "parameters of the student"
    points = {line["role"]: line["points"] for line in curve["lines"]}
    found = [(p["run"], p["x"], p["accuracy"]) for p in points["distilled"]]
    assert found == [("small", 10, 0.25), ("large", 1000, 0.75)]


def test_of_too_many_predictions_the_first_samples_are_kept():
    verdicts = [
        Verdict(problem_id=f"p{i}", sample=s, outcome="wrong") for i in range(4) for s in range(3)
    ]
    one = Results(arm="cot", seed=0, benchmark="toy", scores={}, verdicts=verdicts, predictions={})
    found = predictions.browser([a_run(one)], cap=6)
    assert (found.total, found.left_out) == (12, 6)
    rows = found.columns["rows"]
    ids = [found.columns["problems"][p][1] for p in rows["problem"]]
    assert list(zip(ids, rows["sample"], strict=True)) == [
        ("p0", 0), ("p0", 1), ("p1", 0), ("p1", 1), ("p2", 0), ("p3", 0),
    ]  # fmt: skip


def test_the_browser_stores_a_problem_once_with_its_chains():
    problem = Problem(id="p0", question="?", answer="1", kind="numeric", benchmark="toy",
                      split="train", solution="s")  # fmt: skip
    chain = Chain(problem_id="p0", style="cot", text="t", teacher="m", meta={"reason": "leak"})
    run = a_run(
        student("cot", 0, "1"), student("cot", 1, "0"),
        problems={"p0": problem}, chains={"p0": [chain]},
    )  # fmt: skip
    columns = predictions.browser([run]).columns
    assert columns["problems"] == [[0, "p0", "?", "1", None, "s", [["m", "cot", "t", "leak"]]]]
    assert columns["rows"]["problem"] == [0, 0]


@pytest.mark.parametrize(
    ("share", "told"), [(0.0004, "+0.0"), (-0.0004, "+0.0"), (-0.123, "−12.3"), (1.0, "+100.0")]
)
def test_points_in_words(share, told):
    assert sentences.points(share) == told
