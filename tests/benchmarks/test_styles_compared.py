"""The comparison of styles, with next to no training: that every stage fits the next."""

import json

import pytest

from benchmarks import socratic, studies, styles

SIZES = ("--sizes", "120", "12", "8", "4", "--train-steps", "10")


def run(folder, *arms):
    out = folder / "styles.json"
    assert styles.main(["--workdir", str(folder), *SIZES, "--arms", *arms, "--out", str(out)]) == 0
    return json.loads(out.read_text())


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
    assert "of 2 students" in capsys.readouterr().out
    # The same command again makes nothing anew.
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jsonl")}
    again = run(tmp_path, "equation")
    outcomes = [r["students"][0]["rows"]["equation"]["outcomes"] for r in (again, report)]
    assert outcomes[0] == outcomes[1]
    kept = [p for p in stamps if p.name in ("kept.jsonl", "train.jsonl")]
    assert kept and all(p.stat().st_mtime_ns == stamps[p] for p in kept)


def test_the_mean_of_several_students_has_their_range():
    def study(*right):
        rows = {
            name: {"accuracy": x, "low": x - 0.1, "high": x + 0.1, "n": 10}
            for name, x in zip(("cot", "program"), right, strict=True)
        }
        minus = {"difference": right[1] - right[0], "low": -1.0, "high": 1.0}
        return {"rows": {**rows, "program": {**rows["program"], "minus": minus}}}

    [cot, program] = studies.summary([study(0.5, 0.75), study(0.75, 0.5)]).values()
    assert cot == {"accuracy": 0.625, "each": [0.5, 0.75], "low": 0.5, "high": 0.75}
    assert program["minus"] == {"difference": 0.0, "low": -0.25, "high": 0.25}
    [cot, program] = studies.summary([study(0.5, 0.75)]).values()
    assert (cot["low"], cot["high"]) == (0.4, 0.6)
    assert program["minus"] == {"difference": 0.25, "low": -1.0, "high": 1.0}


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
