"""What people get wrong on the command line: one line, exit code 2, nothing damaged."""

from __future__ import annotations

import dataclasses
import json

import pytest

from t5distill.__main__ import main
from t5distill.records import Prediction, Problem, write_jsonl

PROBLEM = Problem(
    id="p",
    question="1 + 1?",
    answer="2",
    kind="numeric",
    benchmark="toy",
    split="train",
    solution="1 + 1 = 2. The answer is 2.",
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    write_jsonl(tmp_path / "problems.jsonl", [PROBLEM])
    write_jsonl(tmp_path / "predictions.jsonl", [Prediction(problem_id="p", text="2")])
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "a file").write_text("kept")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("score --problems P --predictions empty.jsonl --out out", "no predictions"),
        ("score --problems P --predictions F --out out --baseline F", "wanted a verdicts.jsonl"),
        ("score --problems P --predictions F --out file", "wanted a folder"),
        ("score --problems . --predictions F --out out", "a folder; wanted a file"),
        ("curate --problems P --gold cot --out file", "wanted a folder"),
        ("curate --problems P --gold poem", "style is 'poem'"),
        ("curate --problems P --gold program", "wanted one of cot, socratic"),
        ("prepare embedded --sizes 0 0 0 0", "wanted 1 to"),
        ("prepare embedded --sizes 100000000 1 1 1", "wanted 1 to"),
        ("quickstart --workdir out --sizes 0 1 1 1", "at least 1"),
        ("quickstart --workdir out --train-steps -3", "at least 1"),
    ],
)
def test_mistakes(files, capsys, command, message):
    names = {
        "P": files / "problems.jsonl",
        "F": files / "predictions.jsonl",
        "empty.jsonl": files / "empty.jsonl",
        "out": files / "out",
        "file": files / "a file",
        ".": files,
    }
    assert main([str(names.get(word, word)) for word in command.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (files / "a file").read_text() == "kept"
    assert not (files / "out").exists()


def test_a_split_that_nobody_knows(files, capsys):
    fields = json.loads((files / "problems.jsonl").read_text())
    (files / "problems.jsonl").write_text(json.dumps({**fields, "split": "trian"}) + "\n")
    assert main(["curate", "--problems", str(files / "problems.jsonl"), "--gold", "cot"]) == 2
    assert "split is 'trian'" in capsys.readouterr().err


def test_problems_without_a_prediction_are_pointed_out(files, capsys):
    second = dataclasses.replace(PROBLEM, id="q")
    write_jsonl(files / "problems.jsonl", [PROBLEM, second])
    command = ["score", "--problems", str(files / "problems.jsonl")]
    command += ["--predictions", str(files / "predictions.jsonl"), "--out", str(files / "out")]
    assert main(command) == 0
    assert "1 of 2 problems have no prediction" in capsys.readouterr().out


def test_a_quickstart_folder_keeps_its_options(files, capsys):
    work = files / "work"
    work.mkdir()
    options = {"seed": 0, "sizes": [9, 9, 9, 9], "wrong_rate": 0.2, "train_steps": None}
    (work / "options.json").write_text(json.dumps(options))
    assert main(["quickstart", "--workdir", str(work), "--seed", "5"]) == 2
    assert "begun with" in capsys.readouterr().err
    assert json.loads((work / "options.json").read_text()) == options
