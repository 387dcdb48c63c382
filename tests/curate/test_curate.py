import json
import random

import pytest

from t5distill.__main__ import main
from t5distill.curate.filtering import curate
from t5distill.errors import UserError
from t5distill.records import Chain, Problem, read_jsonl, write_jsonl


def problem(i, answer="5", solution=None):
    return Problem(
        id=f"p{i}",
        question=f"What is {i}?",
        answer=answer,
        kind="numeric",
        benchmark="toy",
        split="train",
        solution=solution,
    )


def chain(i, text, sample=0, teacher="somebody", style="cot"):
    return Chain(problem_id=f"p{i}", style=style, text=text, teacher=teacher, sample=sample)


PROBLEMS = {f"p{i}": problem(i) for i in range(4)}
CHAINS = [
    chain(0, "2 + 3 = 5. The answer is 5."),
    chain(0, "2 +  3 = 5. The answer is 5.", 1),
    chain(0, "1 + 4 = 5. The answer is 5.", 2),
    chain(1, "The answer is 6."),
    chain(2, "Nobody knows."),
]


def test_what_comes_in_is_kept_or_rejected_with_a_reason():
    result = curate(PROBLEMS, CHAINS)
    assert [(c.problem_id, c.sample, c.verdict) for c in result.kept] == [
        ("p0", 0, "correct"),
        ("p0", 2, "correct"),
    ]
    assert result.report() == {
        "in": 5,
        "kept": 2,
        "rejected": {"duplicate": 1, "no_answer": 1, "wrong": 1},
        "keep_rate": 0.4,
        "problems_kept": 1,
    }


def test_order_does_not_matter():
    shuffled = random.Random(1).sample(CHAINS, len(CHAINS))
    assert curate(PROBLEMS, shuffled) == curate(PROBLEMS, CHAINS)


def test_a_chain_of_an_unknown_problem_is_refused():
    with pytest.raises(UserError, match="'p9', which is in none"):
        curate(PROBLEMS, [chain(9, "5")])


def files(tmp_path, monkeypatch, problems, chains):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    write_jsonl(tmp_path / "problems.jsonl", problems)
    write_jsonl(tmp_path / "chains.jsonl", chains)
    return ["curate", "--problems", str(tmp_path / "problems.jsonl")]


def test_the_command_writes_lists_counts_and_a_set(tmp_path, monkeypatch):
    command = files(tmp_path, monkeypatch, PROBLEMS.values(), CHAINS)
    assert main([*command, "--chains", str(tmp_path / "chains.jsonl")]) == 0
    out = tmp_path / "data/chains/toy_cot_somebody"
    assert len(list(read_jsonl(Chain, out / "kept.jsonl"))) == 2
    rejected = list(read_jsonl(Chain, out / "rejected.jsonl"))
    assert sorted(c.meta["reason"] for c in rejected) == ["duplicate", "no_answer", "wrong"]
    report = json.loads((out / "curation.json").read_text())
    assert report["in"] == report["kept"] + sum(report["rejected"].values())
    assert (tmp_path / "data/tfds/toy_cot_somebody/1.0.0/manifest.json").is_file()


def test_gold_solutions_are_chains_too(tmp_path, monkeypatch):
    problems = [problem(0, solution="2 + 3 = <<2+3=5>>5\n#### 5"), problem(1)]
    command = files(tmp_path, monkeypatch, problems, [])
    assert main([*command, "--gold", "cot"]) == 0
    kept = list(read_jsonl(Chain, tmp_path / "data/chains/toy_cot_gold/kept.jsonl"))
    assert [c.teacher for c in kept] == ["gold"]


@pytest.mark.parametrize(
    ("chains", "says"),
    [
        ([], "no chains"),
        ([chain(0, "5"), chain(1, "5", teacher="other")], "of 2 teachers (other, somebody)"),
        ([chain(0, "5"), chain(1, "5", style="answer")], "of 2 styles"),
        ([chain(0, "6")], "none of 1 chains was kept"),
    ],
)
def test_sets_that_cannot_be_made_are_refused(tmp_path, monkeypatch, capsys, chains, says):
    command = files(tmp_path, monkeypatch, PROBLEMS.values(), chains)
    assert main([*command, "--chains", str(tmp_path / "chains.jsonl")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "data/tfds").exists()
