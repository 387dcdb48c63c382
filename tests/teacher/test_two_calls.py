"""Chains of two calls: the rationale and then its answer, each paid for once."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import pytest

from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.records import Problem
from t5distill.teacher import accounts, prompts, two_calls
from t5distill.teacher.ledger import Answer
from t5distill.teacher.loopback import LoopbackTeacher
from t5distill.verify import judge

LEAD = "\nTherefore, the answer (arabic numerals) is"
PROMPT = ("--prompt", "zero_shot_two_call")


@pytest.fixture(scope="module")
def problems(write_problems):
    return write_problems(count=40, seed=4)


def command(path, url, ledger, *more):
    base = ("generate", "--problems", str(path), "--teacher", f"loopback@{url}")
    return [*base, "--ledger", str(ledger), *PROMPT, *more]


def calls(teacher):
    return [e for e in teacher.bill.entries if e.choices]


def the_books_agree(ledger, teacher):
    cost, totals = accounts.spent(ledger), teacher.bill.totals()
    assert cost[:2] == (totals["prompt_tokens"], totals["completion_tokens"])


@pytest.mark.parametrize("how", [(), ("--endpoint", "completions"), ("--batch",)])
def test_a_chain_is_the_rationale_and_the_answer_that_it_leads_to(problems, tmp_path, how):
    path, made = problems
    ledger = tmp_path / "l.db"
    more = ("--samples", "2", "--top-logprobs", "2", "--batch-poll", "0.05", *how)
    with LoopbackTeacher(made, wrong_rate=0.3, seed=2) as teacher:
        assert main(command(path, teacher.url, ledger, *more)) == 0
        assert [e.choices for e in calls(teacher)] == [2] * 40 + [1] * 80
        if "--batch" in how:
            assert {e.batch_id for e in calls(teacher)} == {"batch_1", "batch_2"}
        the_books_agree(ledger, teacher)
        asked = len(teacher.bill.entries)
        assert main(command(path, teacher.url, ledger, *more)) == 0
        assert len(teacher.bill.entries) == asked
    gold = {p.id: p.answer for p in made}
    chains = list(accounts.chains(ledger))
    assert len(chains) == 80
    outcomes = set()
    for chain in chains:
        rationale, lead, answer = chain.text.partition(LEAD)
        assert lead and answer.strip().rstrip(".") in rationale
        assert "".join(t["text"] for t in chain.meta["tokens"]) == chain.text
        verdict = judge(chain.text, gold[chain.problem_id], "numeric")
        assert verdict.extraction == "marker"
        outcomes.add(verdict.outcome)
    assert outcomes == {"correct", "wrong"}


def test_kill_9_between_the_calls_pays_nothing_twice(problems, tmp_path):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, latency_s=0.05) as teacher:
        for wanted in (20, 60):
            asked = command(path, teacher.url, ledger, "--concurrency", "4")
            process = subprocess.Popen(
                [sys.executable, "-m", "t5distill", *asked],
                stdout=subprocess.DEVNULL,
                cwd=pathlib.Path(__file__).parents[2],
            )
            while len(calls(teacher)) < wanted:
                assert process.poll() is None
                time.sleep(0.002)
            process.kill()
            process.wait()
        assert len(list(accounts.chains(ledger))) < 40, "an unfinished chain was given out"
        assert main(command(path, teacher.url, ledger)) == 0
        unknown = accounts.overview(ledger)["attempts"].get("unknown", 0)
        assert 80 <= len(calls(teacher)) <= 80 + unknown <= 80 + 2 * 4
        assert accounts.spent(ledger).tokens >= sum(
            teacher.bill.totals()[f"{what}_tokens"] for what in ("prompt", "completion")
        )
    assert len(list(accounts.chains(ledger))) == 40


def test_a_rationale_cut_off_is_asked_for_its_answer_and_stays_marked(problems, tmp_path):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        more = ("--max-tokens", "12", "--limit", "5")
        assert main(command(path, teacher.url, tmp_path / "l.db", *more)) == 0
        assert len(calls(teacher)) == 10
    chains = list(accounts.chains(tmp_path / "l.db"))
    assert len(chains) == 5 and all(LEAD in c.text for c in chains)
    assert all(c.meta["finish_reason"] == "length" for c in chains)


def test_a_prompt_of_one_call_shares_the_rationales(problems, tmp_path):
    path, made = problems
    ledger = tmp_path / "l.db"
    source = pathlib.Path(prompts.__file__).with_name("zero_shot_two_call.json")
    fields = json.loads(source.read_text(encoding="utf-8"))
    del fields["answer_lead"], fields["answer_tokens"]
    one = tmp_path / "one.json"
    one.write_text(json.dumps(fields))
    with LoopbackTeacher(made) as teacher:
        single = [*command(path, teacher.url, ledger), "--prompt", str(one)]
        assert main(single) == 0
        assert main(command(path, teacher.url, ledger)) == 0
        assert len(calls(teacher)) == 80
        the_books_agree(ledger, teacher)
    assert len(list(accounts.chains(ledger))) == 80  # the short ones and the long ones


def test_the_dry_run_counts_both_calls(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made) as teacher:
        assert main([*command(path, teacher.url, ledger), "--dry-run"]) == 0
        assert teacher.bill.entries == [] and not ledger.exists()
        out = capsys.readouterr().out
        assert "in 40 requests" in out and "40 second calls" in out
        [most] = [line.split() for line in out.splitlines() if line.startswith("at most")]
        assert int(most[5].replace(",", "")) == 40 * (400 + 32)
        assert main(command(path, teacher.url, ledger)) == 0
        assert teacher.bill.totals()["prompt_tokens"] <= int(most[2].replace(",", ""))


def test_replies_are_joined_whatever_their_form():
    def joined(reply, **answer):
        rationale = Answer("first", "3 + 4 = 7.", "stop", [{"text": "3 + 4 = 7.", "top": []}])
        return two_calls.join("k", rationale, LEAD, Answer("second", reply, "stop", **answer))

    for reply, text in (
        (" 7.", f"3 + 4 = 7.{LEAD} 7."),
        ("7", f"3 + 4 = 7.{LEAD} 7"),
        ("Therefore, the answer is 7.", "3 + 4 = 7.\nTherefore, the answer is 7."),
    ):
        assert joined(reply) == Answer("k", text, "stop")
        assert judge(text, "7", "numeric").outcome == "correct"
    tokens = joined("7", tokens=[{"text": "7", "top": [["7", -0.1]]}]).tokens
    assert tokens and "".join(t["text"] for t in tokens) == f"3 + 4 = 7.{LEAD} 7"
    assert two_calls.join("k", Answer("f", "a", "length"), LEAD, Answer("s", " 7.", "stop")) == (
        Answer("k", f"a{LEAD} 7.", "length")
    )


def test_leads_fit_the_kind_and_nothing_follows_an_empty_rationale(problems, tmp_path):
    prompt = prompts.load("zero_shot_two_call")
    choice = Problem(
        id="c",
        question="Which?",
        answer="B",
        kind="choice",
        benchmark="toy",
        split="train",
        choices=["x", "y", "z"],
    )
    assert prompts.answer_lead(prompt, choice) == "\nTherefore, among A through C, the answer is"
    _, made = problems
    assert prompts.answer_lead(prompt, made[0]) == LEAD
    messages = prompts.render(prompt, made[0], chat=True)
    assert [m["role"] for m in messages] == ["user"]
    asked = prompts.render_answer(messages, "Because.", LEAD)
    assert isinstance(asked, list) and asked[1:] == [
        {"role": "assistant", "content": "Because."},
        {"role": "user", "content": LEAD.strip()},
    ]
    text = prompts.render(prompt, made[0], chat=False)
    assert text == f"Q: {made[0].question}\nA: Let's think step by step."

    from t5distill.teacher.asking import Sampling, ask

    sampling = Sampling("m")
    [wanted] = ask(made[:1], prompt, sampling, teacher="t", samples=1, chat=True, show_gold=False)
    key = wanted.items[0].key
    found = two_calls.pending(
        [wanted],
        sampling,
        sampling,
        missing={key},
        answers=lambda keys: {k: Answer(k, " ", "content_filter") for k in keys},
    )
    assert (found.first, found.second) == ([], [])
    assert found.whole == [(wanted.items[0], Answer(key, " ", "content_filter"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_lead": "so"}, "for each kind"),
        ({"answer_lead": {"numeric": "so"}}, "'any'"),
        ({"answer_lead": {"any": "so", "nummeric": "so"}}, "numeric"),
        ({"answer_lead": {"any": "so"}, "answer_tokens": 0}, "above 0"),
    ],
)
def test_a_wrong_lead_is_named(tmp_path, change, message):
    source = pathlib.Path(prompts.__file__).with_name("zero_shot_two_call.json")
    path = tmp_path / "p.json"
    path.write_text(json.dumps(json.loads(source.read_text(encoding="utf-8")) | change))
    with pytest.raises(UserError, match=message):
        prompts.load(str(path))
