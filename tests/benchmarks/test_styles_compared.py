"""The comparison of styles, with next to no training: that every stage fits the next."""

import json

import pytest

from benchmarks import socratic, styles

SIZES = ("--sizes", "120", "12", "8", "4", "--train-steps", "10")


def run(folder, *arms):
    out = folder / "styles.json"
    assert styles.main(["--workdir", str(folder), *SIZES, "--arms", *arms, "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_one_arm_from_problems_to_the_table(tmp_path, capsys):
    report = run(tmp_path, "equation")
    assert set(report["rows"]) == {"equation"} and report["rows"]["equation"]["n"] == 8
    assert report["training"]["equation"]["steps"] == 10
    assert "equation" in capsys.readouterr().out
    # The same command again makes nothing anew.
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jsonl")}
    again = run(tmp_path, "equation")
    assert again["rows"]["equation"]["outcomes"] == report["rows"]["equation"]["outcomes"]
    kept = [p for p in stamps if p.name in ("kept.jsonl", "train.jsonl")]
    assert kept and all(p.stat().st_mtime_ns == stamps[p] for p in kept)


@pytest.mark.soak
def test_every_arm_and_every_way_to_combine_them(tmp_path):
    report = run(tmp_path, *(arm.name for arm in styles.ARMS))
    expected = {"cot + calculator after", "cot + calculator inside", "cot vote@8"}
    expected |= {"socratic_iterative + calculator inside"}
    expected |= {"etd: fallback", "etd: vote", "fu_2023: cot_in_context", "socratic_iterative"}
    assert expected <= set(report["rows"])
    assert [point["k"] for point in report["vote_curve"]] == [1, 2, 4, 8]
    assert "minus_cot" in report["rows"]["program"]
    out = tmp_path / "socratic.json"
    arguments = ["--workdir", str(tmp_path), "--rounds", "2", "--count", "8", "--out", str(out)]
    arguments += ["--networks", "as_trained"]
    assert socratic.main(arguments) == 0
    speeds = json.loads(out.read_text())["as_trained"]["problems_per_second"]
    assert {name: len(found) for name, found in speeds.items()} == dict.fromkeys(socratic.WAYS, 2)
