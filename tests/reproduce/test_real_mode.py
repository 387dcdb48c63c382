"""A recipe on official files, without --tiny: what is small are files, weights and steps."""

import json

import pytest

from t5distill.__main__ import main
from t5distill.formats.standin import standin_vocabulary

NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana")
RECIPE = """# A recipe of one's own.

QUESTION = 'Do solutions teach more than answers?'
BENCHMARK = 'gsm8k'
TESTS = ('gsm8k', 'svamp')
MODEL = 'tiny'
STUDENTS = {
    'answer': {'style': 'answer', 'role': 'answer_only'},
    'shown': {'style': 'cot_in_context', 'role': 'distilled'},
}
BASELINE = 'answer'
MAIN = 'shown'

MIXTURE_OR_TASK_NAME = 'gsm8k_cot_in_context_gold'
TASK_FEATURE_LENGTHS = {'inputs': 256, 'targets': 48}
PACK = False
TRAIN_STEPS = 4
BATCH_SIZE = 4
EVAL_PERIOD = 2
"""


def gsm8k(i):
    a, b = 2 + i % 9, 3 + i // 9
    steps = f"{NAMES[i % 8]} has {a}+{b}=<<{a}+{b}={a + b}>>{a + b} pens."
    question = f"{NAMES[i % 8]} buys {a} red and {b} blue pens. How many pens are that?"
    return {"question": question, "answer": f"{steps}\n#### {a + b}"}


def svamp(i):
    return {
        "ID": f"chal-{i}",
        "Body": f"{NAMES[i % 8]} had {20 + i} plums and ate {i % 7}.",
        "Question": "How many plums are left?",
        "Equation": f"( {20.0 + i} - {float(i % 7)} )",
        "Answer": float(20 + i - i % 7),
        "Type": "Subtraction",
    }


@pytest.fixture
def official(tmp_path):
    """Files as GSM8K and SVAMP are published, in the folder that they are downloaded to."""
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [json.dumps(gsm8k(i)) for i in range(70)]
    (raw / "train.jsonl").write_text("\n".join(rows[:60]) + "\n")
    (raw / "test.jsonl").write_text("\n".join(rows[60:]) + "\n")
    (raw / "SVAMP.json").write_text(json.dumps([svamp(i) for i in range(30)]))
    (tmp_path / "mine.gin").write_text(RECIPE)
    return tmp_path


def test_a_recipe_of_ones_own_on_official_files(official, monkeypatch, capsys):
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", str(standin_vocabulary(official / "t5.model")))
    monkeypatch.chdir(official)
    command = ["reproduce", "mine.gin", "--workdir", "runs"]
    command += ["--raw", "gsm8k=raw", "--raw", "svamp=raw"]
    assert main(command) == 0
    experiment = json.loads((official / "runs/mine/experiment.json").read_text())
    assert not experiment["tiny"] and experiment["tests"] == ["gsm8k", "svamp"]
    for arm in experiment["arms"]:
        for benchmark, n in (("gsm8k", 10), ("svamp", 9)):
            folder = official / "runs/mine" / arm["results"][0] / benchmark
            assert json.loads((folder / "scores.json").read_text())["n"] == n
    shown = official / "runs/mine" / experiment["arms"][1]["results"][0] / "svamp"
    # SVAMP's problems stand behind demonstrations of what was learnt.
    assert [p.name for p in shown.glob("*-test.jsonl")] == [
        "svamp_cot_in_context_of_gsm8k_cot_gold-test.jsonl"
    ]
    assert (official / "runs/mine/report.html").is_file()
    # The same name for something else, in the same folder.
    capsys.readouterr()
    assert main([*command, "--gin.CURATE={'near-duplicates': 0.5}"]) == 2
    assert "gsm8k_cot_gold" in capsys.readouterr().err
