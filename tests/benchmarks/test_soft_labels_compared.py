"""The benchmarks of soft labels, with next to no training: that every stage fits the next."""

import json

import pytest

from benchmarks import soft_cost, soft_labels


@pytest.mark.soak
def test_what_a_step_costs(tmp_path, capsys, monkeypatch):
    out = tmp_path / "cost.json"
    argv = ["x", "--networks", "tiny", "--rounds", "1", "--steps", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", argv)
    assert soft_cost.main() == 0
    found = json.loads(out.read_text())["tiny"]
    assert set(found) == {"hard", "soft", "white box"}
    # Exact, unlike the time: the entries themselves, and next to nothing in between.
    assert 1.0 <= found["soft"]["memory"] < 1.1 < found["white box"]["memory"] + 1
    assert "40 bytes of soft labels" in capsys.readouterr().out


@pytest.mark.soak
def test_every_arm_from_problems_to_the_table(tmp_path, capsys):
    out = tmp_path / "soft.json"
    sizes = ["--sizes", "120", "12", "8", "4", "--train-steps", "6"]
    argv = ["--workdir", str(tmp_path), *sizes, "--students", "2", "--out", str(out)]
    assert soft_labels.main(argv) == 0
    report = json.loads(out.read_text())
    assert set(report["rows"]) == {"match_sample", "match_distribution", "white_box", "gkd"}
    assert report["teacher"]["teacher"]["n"] == 8
    assert all(len(row["each"]) == 2 for row in report["rows"].values())
    assert "minus match_sample" in capsys.readouterr().out
