"""Published chains into a ledger: stand-ins in their form, and the real ones."""

import json
import os
import pathlib

import pytest

from t5distill.__main__ import main
from t5distill.records import Problem, write_jsonl
from t5distill.teacher import accounts

ROOT = os.environ.get("T5DISTILL_REAL_DATA")


def problem(i, question, **fields):
    given = dict(id=f"toy-{i}", answer="1", kind="numeric", benchmark="toy", split="train")
    return Problem(question=question, **{**given, **fields})


PROBLEMS = [
    problem(0, "How many?"),
    problem(1, "How many?"),
    problem(2, "What is\n it?", kind="choice", answer="A", choices=["one", "two"]),
    problem(3, "What is it?", kind="choice", answer="A", choices=["three", "four"]),
]
ROWS = [
    {"id": 7, "question": "How many ?"},
    {"id": 8, "question": "what is it", "choices": ["four", "three"]},
    {"id": 9, "question": "Nobody asks this."},
    {"id": 10, "question": "How  many?"},
]


@pytest.fixture
def files(tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", PROBLEMS)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def load(files, *chains, rows="rows.jsonl"):
    paths = [str(files / name) for name in chains]
    command = ["ledger", "import", str(files / "l.db"), "--chains", *paths, "--teacher", "palm"]
    command += ["--rows", str(files / rows), "--problems", str(files / "problems.jsonl")]
    return main(command)


def texts(files):
    return {(c.problem_id, c.sample): c.text for c in accounts.chains(files / "l.db")}


def test_lists_of_texts_stand_row_by_row(files, capsys):
    # In the order of their numbers, whatever the shell's order is.
    (files / "c_10.json").write_text(json.dumps(["d"]))
    (files / "c_9.json").write_text(json.dumps(["a", "b", "c"]))
    assert load(files, "c_10.json", "c_9.json") == 0
    assert texts(files) == {("toy-0", 0): "a", ("toy-3", 0): "b", ("toy-1", 0): "d"}
    told = capsys.readouterr().out
    assert "1 texts are left out" in told and "3 chains, 3 of them new" in told


def test_json_lines_are_joined_on_the_id(files):
    lines = [{"id": 10, "completion": ["x", "y"]}, {"id": 7, "completion": "z"}]
    (files / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert load(files, "c.jsonl") == 0
    assert texts(files) == {("toy-0", 0): "z", ("toy-1", 0): "x", ("toy-1", 1): "y"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.json", '["a", "b"]', "2 texts in 1 files for 4 rows"),
        ("c.json", '{"a": 1}', "wanted a JSON list of texts"),
        ("c.json", '["a"', "c.json: not JSON"),
        ("c.jsonl", '{"id": 7}\n', "c.jsonl:1: has id; wanted id"),
        ("c.jsonl", '{"id": 99, "completion": "a"}\n', "id 99 is in no row"),
        ("c.jsonl", "[1]\n", "c.jsonl:1: wanted a JSON object"),
        ("c.jsonl", "\xff\n", "c.jsonl:1: not JSON"),
        ("c.jsonl", None, "No such file"),
    ],
)
def test_what_cannot_be_read(files, capsys, name, content, says):
    if content is not None:
        (files / name).write_bytes(content.encode("latin-1"))
    assert load(files, name) == 2
    assert says in capsys.readouterr().err
    assert not (files / "l.db").exists()


@pytest.mark.skipif(not ROOT, reason="T5DISTILL_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("benchmark", "raw", "chains", "rows", "share", "known", "why"),
    [
        (
            "svamp",
            "svamp",
            "palm_chains/svamp/train_CoT_*.json",
            "svamp_train.json",
            0.743,
            0.0,
            "",
        ),
        (
            "commonsenseqa",
            "palm_chains/cqa",
            "palm_chains/cqa/train_CoT_*.json",
            "cqa_train.json",
            0.743,
            0.011,
            "the published rule compares the option's text with its case",
        ),
        (
            "gsm8k",
            "gsm8k",
            "codex_chains/GSM8K/code002_COT.predictions.jsonl",
            "test.jsonl",
            0.628,
            0.007,
            "the published rule has no separators, units and decimals",
        ),
        (
            "multiarith",
            "mawps",
            "codex_chains/MultiArith/code002_COT.predictions.jsonl",
            "test.jsonl",
            0.965,
            0.0,
            "",
        ),
    ],
)
def test_real_chains_are_curated(
    tmp_path, monkeypatch, benchmark, raw, chains, rows, share, known, why
):
    """Shares of right chains as published, within half a point of what is known to differ."""
    data, ledger = pathlib.Path(str(ROOT)), tmp_path / "l.db"
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    assert main(["prepare", benchmark, "--raw", str(data / raw)]) == 0
    problems = [str(p) for p in sorted((tmp_path / "data" / benchmark).glob("*.jsonl"))]
    paths = sorted(data.glob(chains))
    command = ["ledger", "import", str(ledger), "--chains", *map(str, paths), "--teacher", "big"]
    command += ["--rows", str(paths[0].parent / rows), "--problems", *problems]
    assert main(command) == 0
    command = ["curate", "--problems", *problems, "--ledger", str(ledger), "--against"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out/curation.json").read_text())
    assert report["in"] == report["kept"] + sum(report["rejected"].values())
    assert report["verdicts"]["correct"] / report["in"] == pytest.approx(share + known, abs=0.005)
    assert report["rejected"]["wrong"] == report["verdicts"]["wrong"]
    if benchmark in ("svamp", "commonsenseqa"):  # PaLM's run on into questions of its own
        assert report["cut"] > 0.97 * report["in"]
