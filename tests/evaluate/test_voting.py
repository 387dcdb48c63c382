"""Votes: what counts as one answer, ties, weights, curves, and the ensemble command."""

import itertools
import json
import statistics

import pytest

from t5distill.__main__ import main
from t5distill.evaluate import voting
from t5distill.records import Prediction, Problem, Verdict, read_jsonl, write_jsonl


def problem(i=0, answer="5", split="test"):
    return Problem(
        id=f"{split}{i}", question="?", answer=answer, kind="numeric", benchmark="b", split=split
    )


def ballot(*answers):
    """Return the ballot of answers; "5" is right."""
    outcome = {"5": "correct", "5.0": "correct", None: "no_answer"}
    verdicts = [
        Verdict(problem_id="test0", sample=i, answer=a, outcome=outcome.get(a, "wrong"))
        for i, a in enumerate(answers)
    ]
    return voting.ballot(problem(), verdicts)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (("9", "7", "7", "9", None), "9"),  # a tie goes to the first
        (("7", "9", "9"), "9"),
        ((None, None, "7"), "7"),
        (("0.5", "3", "1/2"), "0.5"),  # one value in two spellings
        (("3", "1/2", "0.5"), "1/2"),
        (("5", "6", "5.0"), "5"),
        ((None,), None),
        ((), None),
    ],
)
def test_majority(answers, winner):
    found = voting.majority(ballot(*answers))
    assert (found.answer if found else None) == winner


def test_weights_decide():
    assert voting.majority(ballot("5", "7", "7"), [0.7, 0.3, 0.3]).answer == "5"
    assert voting.majority(ballot("5", "7", "7"), [0.5, 0.3, 0.3]).answer == "7"
    # 0.1 + 0.2 is not 0.3, and still a tie.
    assert voting.majority(ballot("7", "5", "5"), [0.3, 0.1, 0.2]).answer == "7"


def exact(ballots, k):
    """Return the expected accuracy of k samples over all choices of k, worked out naively."""
    shares = []
    for votes in ballots:
        results = []
        for chosen in itertools.combinations(votes.verdicts, min(k, len(votes.verdicts))):
            counts = {}
            for v in chosen:
                if v.answer is not None:
                    counts[v.answer] = counts.get(v.answer, 0) + 1
            best = max(counts, key=counts.get) if counts else None  # the first of a tie
            results.append(best == "5")
        shares.append(statistics.mean(results))
    return statistics.mean(shares)


def test_the_curve_is_the_expectation_over_choices_of_k():
    texts = ["55577", "75755", "79535", "5", "", "n7n5n", "99955", "5n5n9"]
    ballots = [ballot(*(None if c == "n" else c for c in t)) for t in texts] * 40
    found = voting.curve(ballots, [1, 2, 3, 5])
    for k, interval in found.items():
        assert interval.estimate == pytest.approx(exact(ballots, k), abs=0.01)
        assert interval.low < interval.estimate < interval.high
        # 320 problems: about five standard errors of a share below one half.
        assert interval.high - interval.low < 0.12
    assert found == voting.curve(ballots, [1, 2, 3, 5])


@pytest.fixture
def run(tmp_path):
    problems = [problem(i) for i in range(4)]
    write_jsonl(tmp_path / "problems.jsonl", problems)

    def made(name, style, texts, split="test"):
        rows = [
            Prediction(problem_id=f"{split}{i}", text=t, style=style) for i, t in enumerate(texts)
        ]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
        return str(tmp_path / f"{name}.jsonl")

    files = [
        made("cot", "cot", ["The answer is 5."] * 3 + ["The answer is 6."]),
        made("equation", "equation", ["x = ", "ans = 2 + 3", "ans = x", "ans = 7"]),
        made("program", "program", ["def f(", "ans = 1 / 0", "ans = 2 + 4", "ans = 5"]),
    ]

    def command(*more, ok=True):
        argv = ["ensemble", "--problems", str(tmp_path / "problems.jsonl"), "--predictions", *files]
        code = main([*argv, "--out", str(tmp_path / "out"), *more])
        assert code == (0 if ok else 2)
        if ok:
            scores = json.loads((tmp_path / "out/scores.json").read_text())
            return scores, list(read_jsonl(Verdict, tmp_path / "out/verdicts.jsonl"))
        return None

    command.made, command.folder = made, tmp_path
    return command


def test_programs_first_then_equations_then_words(run):
    scores, verdicts = run()
    assert [v.extraction for v in verdicts] == ["marker", "solved", "executed", "executed"]
    assert [v.outcome for v in verdicts] == ["correct", "correct", "wrong", "correct"]
    assert (scores["accuracy"], scores["order"]) == (0.75, ["program", "equation", "cot"])
    shares = {s: (row["accuracy"], row["answered"]) for s, row in scores["styles"].items()}
    assert shares == {"program": (0.25, 0.5), "equation": (0.25, 0.5), "cot": (0.75, 1.0)}
    assert scores["styles"]["cot"]["predictions"] == str(run.folder / "cot.jsonl")
    assert [v.extra["style"] for v in verdicts] == ["cot", "equation", "program", "program"]


def test_another_order(run):
    scores, verdicts = run("--order", "cot", "program", "equation")
    assert scores["accuracy"] == 0.75 and {v.extraction for v in verdicts} == {"marker"}


def test_a_vote_weighed_by_validation(run):
    problems = [problem(i, split="validation") for i in range(2)]
    write_jsonl(run.folder / "validation.jsonl", problems)
    files = [
        run.made("v_cot", "cot", ["The answer is 9.", "The answer is 9."], "validation"),
        run.made("v_equation", "equation", ["ans = 5", "ans = 7"], "validation"),
        run.made("v_program", "program", ["ans = 5", "ans = 5"], "validation"),
    ]
    weigh = ["--validation-problems", str(run.folder / "validation.jsonl")]
    weigh += ["--validation-predictions", *files]
    scores, _ = run("--how", "vote", *weigh)
    assert scores["weights"] == {"program": 1.0, "equation": 0.5, "cot": 0.0}
    equal, _ = run("--how", "vote")
    assert set(equal["weights"].values()) == {1.0}


def test_second_students_come_right_after_the_first_and_any_sample_counts(run):
    problems = str(run.folder / "problems.jsonl")
    rows = [
        Prediction(problem_id=f"test{i}", text=f"ans = {5 + i}", style="program", sample=3)
        for i in range(4)
    ]
    write_jsonl(run.folder / "second.jsonl", rows)
    files = [str(run.folder / f"{name}.jsonl") for name in ("cot", "program", "second")]
    argv = ["--problems", problems, "--out", str(run.folder / "two"), "--predictions", *files]
    assert main(["ensemble", *argv]) == 0
    scores = json.loads((run.folder / "two/scores.json").read_text())
    assert scores["order"] == ["program", "program'", "cot"]
    second = scores["styles"]["program'"]
    assert (second["accuracy"], second["answered"], second["samples"]) == (0.25, 1.0, 1)
    assert scores["accuracy"] == 0.5 and scores["isolation"]
    # The same as a run of its own.
    assert main(["score", *argv[:4], "--predictions", str(run.folder / "second.jsonl")]) == 0
    assert json.loads((run.folder / "two/scores.json").read_text())["accuracy"] == 0.25


def test_problems_without_predictions_are_told_by_style(run, capsys):
    rows = [Prediction(problem_id="test0", text="ans = 5", style="equation")]
    write_jsonl(run.folder / "one.jsonl", rows)
    files = [str(run.folder / f"{name}.jsonl") for name in ("cot", "one")]
    argv = ["--problems", str(run.folder / "problems.jsonl"), "--out", str(run.folder / "three")]
    assert main(["ensemble", *argv, "--predictions", *files]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert warnings == ["warning: 3 of 4 problems have no prediction and count as wrong (equation)"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["cot", "cot"], "given twice"),
        (["empty"], "no predictions"),
        (["mixed"], "of the styles cot, program"),
        ([""], "a folder"),
    ],
)
def test_files_that_cannot_vote_are_named(run, capsys, files, says):
    (run.folder / "empty.jsonl").touch()
    rows = [
        Prediction(problem_id=f"test{i}", text="ans = 5", style=style)
        for i, style in enumerate(("cot", "program"))
    ]
    write_jsonl(run.folder / "mixed.jsonl", rows)
    paths = [str(run.folder / f"{name}.jsonl") if name else str(run.folder) for name in files]
    argv = ["--problems", str(run.folder / "problems.jsonl"), "--out", str(run.folder / "o")]
    assert main(["ensemble", *argv, "--predictions", *paths]) == 2
    said = capsys.readouterr().err
    assert says in said and paths[0] in said


def test_what_would_flatter_the_result_is_refused(run, capsys):
    run("--how", "votes", ok=False)
    run("--order", "cot", ok=False)
    run("--validation-problems", "x", ok=False)
    problems = str(run.folder / "problems.jsonl")
    predictions = [str(run.folder / f"{s}.jsonl") for s in ("cot", "equation", "program")]
    weigh = ["--validation-problems", problems, "--validation-predictions", *predictions]
    run("--how", "vote", *weigh, ok=False)
    said = capsys.readouterr().err
    assert "did you mean vote?" in said and "are those of --problems" in said
