"""The comparison of styles, with next to no training: that every stage fits the next."""

import json

import numpy as np
import pytest

from benchmarks import socratic, studies, styles
from t5distill.evaluate.statistics import over_seeds, wilson
from t5distill.records import Verdict, write_jsonl

SIZES = ("--sizes", "120", "12", "8", "4", "--train-steps", "10")


def run(folder, *arms):
    out = folder / "styles.json"
    assert styles.main(["--workdir", str(folder), *SIZES, "--arms", *arms, "--out", str(out)]) == 0
    return json.loads(out.read_text())


@pytest.mark.soak
def test_one_arm_from_problems_to_the_table(tmp_path, capsys):
    report = run(tmp_path, "equation", "--students", "2")
    [first, second] = report["students"]
    assert set(report["rows"]) == {"equation"} and first["rows"]["equation"]["n"] == 8
    assert first["training"]["equation"]["steps"] == 10
    assert (first["seed"], second["seed"]) == (0, 1)
    assert len(report["rows"]["equation"]["each"]) == 2
    losses = [
        (folder / "equation/metrics.jsonl").read_text().splitlines()[-1]
        for folder in (tmp_path, tmp_path / "student_1")
    ]
    assert json.loads(losses[0])["loss"] != json.loads(losses[1])["loss"]
    assert "95 % interval" in capsys.readouterr().out
    # The same command again makes nothing anew.
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jsonl")}
    again = run(tmp_path, "equation")
    outcomes = [r["students"][0]["rows"]["equation"]["outcomes"] for r in (again, report)]
    assert outcomes[0] == outcomes[1]
    kept = [p for p in stamps if p.name in ("kept.jsonl", "train.jsonl")]
    assert kept and all(p.stat().st_mtime_ns == stamps[p] for p in kept)


def test_the_interval_of_several_students_counts_them_and_the_problems(tmp_path):
    rng = np.random.default_rng(5)
    right = {
        name: rng.random((3, 200)) < rate[:, None]
        for name, rate in (
            ("cot", np.array([0.5, 0.7, 0.6])),
            ("program", np.array([0.9, 0.95, 0.85])),
        )
    }

    def study(seed):
        rows = {}
        for name, of_seeds in right.items():
            folder = tmp_path / f"{name}_{seed}"
            verdicts = [
                Verdict(problem_id=f"p{i:03}", sample=0, outcome="correct" if r else "wrong")
                for i, r in enumerate(of_seeds[seed])
            ]
            write_jsonl(folder / "verdicts.jsonl", verdicts)
            found = wilson(int(of_seeds[seed].sum()), 200).accuracy()
            rows[name] = {**found, "n": 200, "scores": str(folder)}
        report = {"rows": rows}
        studies.compare_with("cot", report)
        return report

    found = studies.summary([study(seed) for seed in range(3)], "cot")
    wanted = over_seeds(right["program"].astype(float))
    assert found["program"]["accuracy"] == wanted.estimate
    assert found["program"]["low"] == wanted.low and found["program"]["high"] <= 1.0
    minus = over_seeds(right["program"].astype(float) - right["cot"])
    assert found["program"]["minus"] == {
        "difference": minus.estimate,
        "low": minus.low,
        "high": minus.high,
    }
    alone = studies.summary([study(1)], "cot")
    of_problems = wilson(int(right["program"][1].sum()), 200)
    assert (alone["program"]["low"], alone["program"]["high"]) == (
        of_problems.low,
        of_problems.high,
    )
    assert alone["program"]["minus"]["n"] == 200


@pytest.mark.soak
def test_every_arm_and_every_way_to_combine_them(tmp_path):
    report = run(tmp_path, *(arm.name for arm in styles.ARMS))
    expected = {"cot + calculator after", "cot + calculator inside", "cot vote@8"}
    expected |= {"socratic_iterative + calculator inside"}
    expected |= {"etd: fallback", "etd: vote", "fu_2023: cot_in_context", "socratic_iterative"}
    assert expected <= set(report["rows"])
    assert [point["k"] for point in report["students"][0]["vote_curve"]] == [1, 2, 4, 8]
    assert "minus" in report["rows"]["program"]
    out = tmp_path / "socratic.json"
    arguments = ["--workdir", str(tmp_path), "--rounds", "2", "--count", "8", "--out", str(out)]
    arguments += ["--networks", "as_trained"]
    assert socratic.main(arguments) == 0
    speeds = json.loads(out.read_text())["as_trained"]["problems_per_second"]
    assert {name: len(found) for name, found in speeds.items()} == dict.fromkeys(socratic.WAYS, 2)
