"""`curate --soft-labels`: what is refused, what is counted, and what the set says of itself."""

import dataclasses
import json
import math

import pytest

from t5distill.__main__ import main
from t5distill.curate import alignment, curating
from t5distill.curate.alignment import CASES
from t5distill.curate.curating import curate_set
from t5distill.curate.filtering import Rules
from t5distill.errors import UserError
from t5distill.formats import cot, vocabulary
from t5distill.problems import embedded
from t5distill.records import Chain, read_jsonl, write_jsonl
from t5distill.teacher.loopback import tokens as loopback
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.probabilities import Probabilities

RULES = Rules(soft_labels=5, vocab="byt5")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def problems():
    return {p.id: p for p in embedded.generate(count=12, seed=0, split="train")}


def with_tokens(chain, k=5, before="", behind=""):
    """Return a chain with the loopback teacher's tokens for its text and what stands around it."""
    pieces = loopback.pieces(before + chain.text + behind)
    tops = Probabilities(Writer()).rows(pieces, k, problem=None, style="cot")
    tokens = [
        {"text": text, "top": [list(pair) for pair in top]}
        for text, top in zip(pieces, tops, strict=True)
    ]
    text = before + chain.text + behind
    return dataclasses.replace(chain, text=text, meta={"tokens": tokens})


def chains(problems):
    """Right chains of every problem: with log-probabilities, and with each thing wrong in them."""
    for problem in problems.values():
        writer = Writer()
        plain = Chain(
            problem_id=problem.id, style="cot", text=writer.text(problem, "cot"), teacher="loopback"
        )
        yield with_tokens(plain, before="\n", behind="\n\nQ: And what comes then?\nA: 5")
        # Without them: refused before it could make the good one a duplicate.
        yield dataclasses.replace(plain, sample=-1)
        few = with_tokens(plain, k=3)
        yield dataclasses.replace(few, sample=-2)
        bad = with_tokens(plain)
        bad.meta["tokens"][2]["top"][1][1] = -math.inf
        yield dataclasses.replace(bad, sample=-3)
        other = with_tokens(dataclasses.replace(plain, text="Other words."))
        yield dataclasses.replace(plain, sample=-4, meta=other.meta)


def test_each_chain_that_is_kept_can_be_aligned(problems):
    report, out = curate_set(problems, chains(problems), rules=RULES)
    assert report["in"] == 60 and report["kept"] == 12 and report["rejected"] == {"logprobs": 48}
    for chain in read_jsonl(Chain, out / "rejected.jsonl"):
        wanted = {
            -1: "no log-probabilities; ask the teacher",
            -2: "token 0",
            -3: "token 2",
            -4: "do not rebuild the chain",
        }[chain.sample]
        assert wanted in chain.meta["detail"], chain.meta["detail"]
    tokens, soft, mass = 0, 0, 0.0
    cases = dict.fromkeys(CASES, 0)
    student = vocabulary.load("byt5")
    for chain in read_jsonl(Chain, out / "kept.jsonl"):
        alignment.check(chain, 5)
        target = cot.targets(problems[chain.problem_id], chain)
        found = alignment.align(target, chain, student)
        tokens += len(student.encode(target))
        soft += (found.probabilities.sum(1) > 0).sum()
        mass += found.probabilities.sum()
        for case in found.cases:
            cases[CASES[case]] += 1
    said = report["soft_labels"]
    assert said == {
        "top": 5,
        "vocab": "byt5",
        "tokens": tokens,
        "with_soft_target": pytest.approx(soft / tokens),
        "mass": pytest.approx(mass / soft),
        "cases": cases,
    }
    assert sum(said["cases"].values()) == tokens and said["with_soft_target"] == 1.0
    manifest = json.loads((out.parents[1] / "tfds" / report["task"] / "1.0.0/manifest.json")
                          .read_text())  # fmt: skip
    assert manifest["soft_labels"] == 5


def test_without_the_option_nothing_is_said(problems):
    report, out = curate_set(problems, chains(problems), rules=Rules())
    assert "soft_labels" not in report and "logprobs" not in report["rejected"]
    manifest = json.loads((out.parents[1] / "tfds" / report["task"] / "1.0.0/manifest.json")
                          .read_text())  # fmt: skip
    assert "soft_labels" not in manifest


def test_the_same_counts_from_several_processes(problems, monkeypatch, tmp_path):
    alone, _ = curate_set(problems, chains(problems), rules=RULES, out=tmp_path / "alone")
    monkeypatch.setattr(curating, "_BATCH", 5)
    among, _ = curate_set(problems, chains(problems), rules=RULES, out=tmp_path / "two", workers=2)
    assert among["soft_labels"] == alone["soft_labels"]
    assert among["rejected"] == alone["rejected"]


def test_the_command_says_what_became_of_them(problems, tmp_path, capsys):
    write_jsonl(tmp_path / "p.jsonl", problems.values())
    write_jsonl(tmp_path / "c.jsonl", (c for c in chains(problems) if c.sample != -3))
    command = ["curate", "--problems", str(tmp_path / "p.jsonl")]
    command += ["--chains", str(tmp_path / "c.jsonl"), "--vocab", "byt5"]
    assert main([*command, "--soft-labels", "5"]) in (0, None)
    told = capsys.readouterr().out
    assert "soft labels of 5 alternatives: 100.0 % of" in told and "one to many" in told
    assert "logprobs" in told and "not the log-probabilities that --soft-labels needs" in told


def test_the_users_mistakes(problems, tmp_path):
    with pytest.raises(UserError, match="wanted at least 1"):
        Rules(soft_labels=0)
    with pytest.raises(UserError, match=r"logprobs.*says why"):
        curate_set(problems, chains(problems), rules=Rules(soft_labels=9, vocab="byt5"))


def test_a_vocabulary_that_is_not_there(problems, tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", str(tmp_path / "none.model"))
    with pytest.raises(UserError, match="T5DISTILL_T5_VOCAB"):
        curate_set(problems, chains(problems), rules=Rules(soft_labels=5), workers=2)
