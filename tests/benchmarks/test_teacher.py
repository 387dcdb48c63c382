"""The benchmark of asking runs from end to end at tiny size."""

import importlib.util
import json

import pytest

from benchmarks import teacher


def test_everybody_gets_every_reply_and_ratios_are_of_one_round(tmp_path, capsys):
    out = tmp_path / "out.json"
    words = ["--requests", "40", "--turns", "2", "--concurrency", "3", "--out", str(out)]
    assert teacher.main(words) == 0
    report = json.loads(out.read_text())
    result = report["concurrency"]["3"]
    libraries = [name for name in teacher.LIBRARIES if importlib.util.find_spec(name)]
    assert list(result) == ["generate", "client", *libraries] and libraries
    for row in result.values():
        assert len(row["requests_per_second"]) == 2
        ours = result["generate"]["requests_per_second"]
        wanted = [a / b for a, b in zip(ours, row["requests_per_second"], strict=True)]
        assert row["ratios"] == pytest.approx(wanted)
        assert min(row["ratios"]) > 0
    printed = capsys.readouterr().out
    assert "3 requests under way, 40 in a turn, 2 turns" in printed
    assert "wanted 0.8" in printed and "load of the machine" in printed


def test_a_contender_that_drops_requests_is_no_result():
    args = teacher.parse(["--requests", "40", "--turns", "1"])
    with pytest.raises(teacher.UserError, match="39 replies to 40 requests"):
        teacher._rounds({"hasty": lambda: teacher.Turn(39, 0.1)}, args)


def test_numbers_out_of_range_are_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        teacher.parse(["--concurrency", "0"])
    assert refused.value.code == 2
    assert "at least 1" in capsys.readouterr().err
