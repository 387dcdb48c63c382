"""The table of plans: a row a plan, made once."""

import json

import pytest

from benchmarks import plans


@pytest.mark.soak
def test_a_table_of_plans(tmp_path, monkeypatch, capsys):
    rows = (plans.Row("tiny", "l4", "1x1", 8), plans.Row("tiny", "h100", "1x1", 8))
    monkeypatch.setattr(plans, "ROWS", rows)
    command = ["--workdir", str(tmp_path / "plans"), "--only", "l4"]
    assert plans.main([*command, "--out", str(tmp_path / "all.json")]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("| tiny"))
    assert line.startswith("| tiny | l4 | 1x1 | 8 | none, 1 | about 0.")
    [figures] = json.loads((tmp_path / "all.json").read_text()).values()
    assert figures["chip"] == "l4"

    # What is there is not made again, and what does not fit says so.
    [path] = (tmp_path / "plans").iterdir()
    figures["steps"][0] |= {"fits": False, "memory_bytes": 30 * 2**30}
    path.write_text(json.dumps(figures))
    assert plans.main(command) == 0
    assert "about 30.0 GiB: no" in capsys.readouterr().out
