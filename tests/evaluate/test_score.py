import json

import pytest

from t5distill.__main__ import main
from t5distill.evaluate import scoring
from t5distill.records import Prediction, Problem, Verdict, read_jsonl, write_jsonl


def problem(i, answer="5"):
    return Problem(
        id=f"p{i}", question="?", answer=answer, kind="numeric", benchmark="b", split="test"
    )


def prediction(i, text, sample=0, **kw):
    return Prediction(problem_id=f"p{i}", text=text, sample=sample, style="cot", **kw)


@pytest.fixture
def run(tmp_path):
    """Score through the command; return scores and verdicts."""

    def score(problems, predictions, *more):
        write_jsonl(tmp_path / "problems.jsonl", problems)
        write_jsonl(tmp_path / "predictions.jsonl", predictions)
        code = main(
            [
                "score",
                *("--problems", str(tmp_path / "problems.jsonl")),
                *("--predictions", str(tmp_path / "predictions.jsonl")),
                *("--out", str(tmp_path / "out"), *more),
            ]
        )
        if code:
            return code, None
        scores = json.loads((tmp_path / "out/scores.json").read_text())
        return scores, list(read_jsonl(Verdict, tmp_path / "out/verdicts.jsonl"))

    return score


def test_an_expression_after_a_mark_is_marked(run):
    scores, _ = run([problem(0)], [prediction(0, "The answer is (2 + 3).")])
    assert scores["no_marker"] == 0.0


def test_every_problem_counts_and_outcomes_add_up(run):
    scores, verdicts = run(
        [problem(i) for i in range(5)],
        [
            prediction(0, "2 + 3 = 5. The answer is 5."),
            prediction(1, "The answer is 6."),
            prediction(2, "I do not know."),
            prediction(3, "2 + 3", finished=False),
        ],
    )
    assert scores["n"] == 5
    assert scores["accuracy"] == 0.2
    assert scores["low"] < 0.2 < scores["high"]
    shown = {k: v for k, v in scores["outcomes"].items() if v}
    assert shown == {k: 0.2 for k in ("correct", "wrong", "no_answer", "truncated", "missing")}
    assert sum(scores["outcomes"].values()) == pytest.approx(1.0)
    assert scores["truncated"] == 0.2
    assert scores["no_marker"] == 0.6
    assert [v.problem_id for v in verdicts] == [f"p{i}" for i in range(5)]


def test_the_calculator_in_decoding_stands_apart(run, capsys):
    marked = prediction(0, "The answer is 5.", meta={"calculator": {"forced": 3, "changed": 1}})
    scores, _ = run(
        [problem(0), problem(1)], [marked, prediction(1, "2 + 3 = 6. The answer is 6.")]
    )
    assert scores["calculator_in_decoding"] == {"share": 0.5, "forced": 3, "changed": 1}
    assert (scores["accuracy"], scores["calculator_after_decoding"]) == (0.5, 1.0)
    assert "calculator in decoding        50.0 %  of the predictions; 3 values" in (
        capsys.readouterr().out
    )
    scores, _ = run([problem(0)], [prediction(0, "The answer is 5.")])
    assert scores["calculator_in_decoding"] == {"share": 0.0, "forced": 0, "changed": 0}
    assert "calculator in decoding" not in capsys.readouterr().out


def test_harness_rules_stand_beside_ours(run):
    scores, _ = run(
        [problem(0, "1080"), problem(1, "1080"), problem(2, "1080")],
        [
            prediction(0, "#### 1,080"),
            prediction(1, "so 1080 in all"),
            prediction(2, "The answer is one thousand eighty."),
        ],
    )
    assert scores["accuracy"] == 1.0
    assert scores["strict_match"] == pytest.approx(1 / 3)
    assert scores["flexible_extract"] == pytest.approx(2 / 3)


def test_calculator_after_decoding_is_reported_apart(run):
    scores, _ = run([problem(0)], [prediction(0, "2 + 3 = 6. The answer is 6.")])
    assert scores["accuracy"] == 0.0
    assert scores["calculator_after_decoding"] == 1.0


def test_accuracy_is_the_first_samples_and_the_vote_stands_apart(run):
    texts = ["The answer is 6.", "The answer is 5.", "The answer is 5.0."]
    scores, verdicts = run([problem(0)], [prediction(0, t, i) for i, t in enumerate(texts)])
    assert scores["accuracy"] == 0.0
    assert scores["vote_3"]["accuracy"] == 1.0
    assert [v.sample for v in verdicts] == [0, 1, 2]


def test_t5x_inference_lines_are_read(tmp_path, run):
    lines = [
        {"inputs": {"id_pretokenized": "p0", "inputs_pretokenized": "?"}, "prediction": "#### 5"},
        {"inputs": {"id_pretokenized": "p1"}, "prediction": ["#### 4", "#### 5"]},
    ]
    path = tmp_path / "t5x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    got = scoring.read_predictions(path)
    assert [(p.problem_id, p.sample, p.text) for p in got] == [
        ("p0", 0, "#### 5"),
        ("p1", 0, "#### 4"),
        ("p1", 1, "#### 5"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"problem_id": "p0"}', "lacks text"),
        ("[1]", "wanted a JSON object"),
        ('{"inputs": {}, "prediction": "x"}', "id_pretokenized"),
        ('{"problem_id": "p0", "text": 3}', "text is 3"),
        ("{", "not a prediction"),
        ('{"problem_id": "p0", "text": "\\ud800"}', "surrogates"),
        ('{"problem_id": "p0", "text": "", "style": "programm"}', "did you mean program?"),
        ('{"problem_id": "p0", "text": "", "meta": {"calculator": 5}}', "meta.calculator is 5"),
        (
            '{"problem_id": "p0", "text": "", "meta": {"calculator": {"forced": "x"}}}',
            "meta.calculator is",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path, capsys, line, says):
    write_jsonl(tmp_path / "problems.jsonl", [problem(0)])
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"problem_id": "p0", "text": "5"}\n' + line + "\n")
    out = tmp_path / "out"
    code = main(
        [
            *("score", "--problems", str(tmp_path / "problems.jsonl")),
            *("--predictions", str(bad), "--out", str(out)),
        ]
    )
    assert code == 2
    error = capsys.readouterr().err
    assert f"{bad}:2" in error and says in error
    assert not out.exists()


def test_predictions_of_other_problems_are_refused(run, capsys):
    code, _ = run([problem(0)], [prediction(7, "The answer is 5.")])
    assert code == 2
    assert "'p7', which is not in the problem file" in capsys.readouterr().err


def test_an_empty_file_of_problems_is_named(run, capsys):
    assert run([], [prediction(0, "5")]) == (2, None)
    assert "problems.jsonl: holds no problem" in capsys.readouterr().err


def test_the_same_sample_twice_is_refused(run, capsys):
    code, _ = run([problem(0)], [prediction(0, "5"), prediction(0, "6")])
    assert code == 2
    assert "two predictions for 'p0' with sample 0" in capsys.readouterr().err


def test_a_baseline_gives_the_paired_difference(tmp_path, run):
    problems = [problem(i) for i in range(40)]
    run(problems, [prediction(i, "The answer is 6.") for i in range(40)])
    (tmp_path / "out/verdicts.jsonl").rename(tmp_path / "baseline.jsonl")
    right = [prediction(i, f"The answer is {5 if i < 30 else 6}.") for i in range(40)]
    scores, _ = run(problems, right, "--baseline", str(tmp_path / "baseline.jsonl"))
    versus = scores["versus_baseline"]
    assert versus["difference"] == pytest.approx(0.75)
    assert 0.5 < versus["low"] < 0.75 < versus["high"] < 0.95


def test_a_baseline_over_other_problems_is_refused(tmp_path, run, capsys):
    run([problem(1)], [prediction(1, "5")])
    (tmp_path / "out/verdicts.jsonl").rename(tmp_path / "baseline.jsonl")
    code, _ = run(
        [problem(0)], [prediction(0, "5")], "--baseline", str(tmp_path / "baseline.jsonl")
    )
    assert code == 2
    assert "different problems" in capsys.readouterr().err


def test_the_file_of_the_baseline_is_not_replaced(tmp_path, run, capsys):
    run([problem(0)], [prediction(0, "5")])
    before = (tmp_path / "out/verdicts.jsonl").read_bytes()
    code, _ = run(
        [problem(0)], [prediction(0, "6")], "--baseline", str(tmp_path / "out/verdicts.jsonl")
    )
    assert code == 2
    assert "would replace" in capsys.readouterr().err
    assert (tmp_path / "out/verdicts.jsonl").read_bytes() == before


def test_the_first_sample_is_the_lowest_there_is(tmp_path, run):
    problems = [problem(0), problem(1)]
    rows = [prediction(i, "The answer is 5.", sample=s) for i in range(2) for s in (2, 1)]
    scores, _ = run(problems, rows)
    assert scores["accuracy"] == 1.0
    (tmp_path / "out/verdicts.jsonl").rename(tmp_path / "baseline.jsonl")
    scores, _ = run(problems, rows, "--baseline", str(tmp_path / "baseline.jsonl"))
    assert scores["versus_baseline"]["n"] == 2


def test_problems_without_predictions_are_counted_among_problems(run, capsys):
    run([problem(0), problem(1)], [prediction(0, "5", sample=s) for s in range(4)])
    assert "1 of 2 problems have no prediction" in capsys.readouterr().out


@pytest.mark.parametrize(("style", "accuracy"), [(None, 0.0), ("program", 1.0)])
def test_t5x_s_lines_have_the_style_that_is_given(tmp_path, style, accuracy):
    write_jsonl(tmp_path / "problems.jsonl", [problem(0)])
    line = {"inputs": {"id_pretokenized": "p0"}, "prediction": "ans = len('abcde')"}
    (tmp_path / "t5x.jsonl").write_text(json.dumps(line))
    argv = ["score", "--problems", str(tmp_path / "problems.jsonl"), "--out", str(tmp_path / "o")]
    argv += ["--predictions", str(tmp_path / "t5x.jsonl"), *(["--style", style] if style else [])]
    assert main(argv) == 0
    assert json.loads((tmp_path / "o/scores.json").read_text())["accuracy"] == accuracy
    assert main([*argv, "--style", "programm"]) == 2
