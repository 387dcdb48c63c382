"""A style of the user's own: registered in a module that every command imports."""

import dataclasses

import pytest

from t5distill import formats
from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.records import Prediction, Problem, write_jsonl

COT = formats.style("cot")
MODULE = """
from t5distill import formats
cot = formats.style("cot")
formats.register("own_words", formats.Style(inputs=cot.inputs, targets=cot.targets, chains="cot"))
"""


@pytest.fixture
def styles(monkeypatch):
    monkeypatch.setattr(formats, "STYLES", dict(formats.STYLES))


def test_a_style_is_registered_once(styles):
    own = dataclasses.replace(COT, inputs=lambda problem: problem.question)
    formats.register("own", own)
    formats.register("own", own)
    assert formats.style("own") is own


@pytest.mark.parametrize(
    "name, style, message",
    [
        ("cot", dataclasses.replace(COT, weighted=True), "already"),
        ("Own", COT, "small letters"),
        ("own__byt5", COT, "small letters"),
        (
            "own",
            dataclasses.replace(COT, chains="rhyme"),
            "chains of 'rhyme'; wanted one of answer",
        ),
    ],
)
def test_what_no_style_may_be(styles, name, style, message):
    before = dict(formats.STYLES)
    with pytest.raises(UserError, match=message):
        formats.register(name, style)
    assert before == formats.STYLES


def test_every_command_imports_the_named_modules(styles, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_words_style.py").write_text(MODULE)
    problem = Problem(
        id="a", question="?", answer="5", kind="numeric", benchmark="own", split="test"
    )
    write_jsonl(tmp_path / "test.jsonl", [problem])
    text = "The answer is 5."
    write_jsonl(tmp_path / "p.jsonl", [Prediction(problem_id="a", text=text, style="own_words")])
    command = ["score", "--problems", "test.jsonl", "--predictions", "p.jsonl", "--out", "scores"]
    assert main(command) == 2
    assert "own_words" in capsys.readouterr().err
    monkeypatch.setenv("T5DISTILL_MODULES", "own_words_stile")
    assert main(command) == 2
    assert "T5DISTILL_MODULES names 'own_words_stile'" in capsys.readouterr().err
    monkeypatch.setenv("T5DISTILL_MODULES", "own_words_style")
    assert main(command) == 0
    assert "100.0 %" in capsys.readouterr().out
