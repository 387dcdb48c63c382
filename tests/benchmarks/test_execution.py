"""The benchmark of execution runs from end to end at tiny size."""

import json

import pytest

from benchmarks import execution


def test_every_contender_takes_its_turns(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert execution.main(["--programs", "20", "--turns", "2", "--out", str(out)]) == 0
    results = json.loads(out.read_text())["results"]
    assert list(results) == ["sandbox", "python -c", "sandbox, sympy", "python -c, sympy"]
    for row in results.values():
        assert len(row["per_second"]) == len(row["per_core_second"]) == 2
        assert min(row["per_second"] + row["per_core_second"]) > 0
    assert "wanted 300 per core" in capsys.readouterr().out


def test_wrong_answers_are_no_result():
    with pytest.raises(execution.UserError, match="wrong answers"):
        execution.timed(lambda sources: ["7"] * len(sources), execution.PLAIN, 3)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(SystemExit) as refused:
        execution.parse(["--programs", "1"])
    assert refused.value.code == 2
