"""`generate` against a real server that fails in every way it can."""

from __future__ import annotations

import asyncio
import collections
import json
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.problems import embedded
from t5distill.records import Chain, read_jsonl, write_jsonl
from t5distill.teacher import accounts, showing
from t5distill.teacher.client import Client, NoReplyError, Server, parse_server
from t5distill.teacher.command import GIVEN_UP
from t5distill.teacher.ledger import Ledger
from t5distill.teacher.loopback import Faults, LoopbackTeacher
from t5distill.verify import judge

FAULTS = Faults(
    too_many_requests=0.1,
    server_error=0.05,
    reset=0.02,
    hang=0.01,
    truncated=0.01,
    bad_utf8=0.01,
    retry_after_s=0.2,
)


@pytest.fixture(scope="module")
def problems(write_problems):
    return write_problems(count=60, seed=1)


def generate(path, teacher, ledger, *more):
    spec = teacher if isinstance(teacher, str) else f"loopback@{teacher.url}"
    return main(
        ["generate", "--problems", str(path), "--teacher", spec, "--ledger", str(ledger), *more]
    )


def generated(teacher):
    return [e for e in teacher.bill.entries if e.choices or e.fault or e.status == 429]


def test_every_answer_is_asked_for_once_and_right(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, seed=3) as teacher:
        assert generate(path, teacher, ledger, "--samples", "3", "--choices", "2") == 0
        assert len(generated(teacher)) == 120  # 2 + 1 samples of 60 problems
        # Other order, again: nothing is asked. More samples: only the new ones.
        shuffled = tmp_path / "shuffled.jsonl"
        write_jsonl(shuffled, reversed(made))
        assert generate(shuffled, teacher, ledger, "--samples", "3") == 0
        assert len(generated(teacher)) == 120
        assert generate(path, teacher, ledger, "--samples", "4") == 0
        assert len(generated(teacher)) == 180
        totals = teacher.bill.totals()
    assert "next: t5distill curate" in capsys.readouterr().out
    cost = accounts.spent(ledger)
    assert tuple(cost[:2]) == (totals["prompt_tokens"], totals["completion_tokens"])
    chains = list(accounts.chains(ledger))
    assert collections.Counter(c.sample for c in chains) == {0: 60, 1: 60, 2: 60, 3: 60}
    gold = {p.id: p.answer for p in made}
    assert all(judge(c.text, gold[c.problem_id], "numeric").outcome == "correct" for c in chains)
    assert len({(c.problem_id, c.text) for c in chains}) > 60


@pytest.mark.parametrize("style", ["answer", "socratic", "program", "equation", "key_points"])
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_every_style_and_both_endpoints(problems, tmp_path, style, endpoint):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        more = ("--style", style, "--endpoint", endpoint, "--limit", "5", "--top-logprobs", "3")
        assert generate(path, teacher, tmp_path / "l.db", *more) == 0
        assert {e.style for e in teacher.bill.entries if e.choices} == {style}
    for chain in accounts.chains(tmp_path / "l.db"):
        assert chain.style == style
        assert "".join(t["text"] for t in chain.meta["tokens"]) == chain.text
        assert all(len(t["top"]) == 3 for t in chain.meta["tokens"])


def test_faults_cost_attempts_but_no_answer(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, faults=FAULTS, seed=5) as teacher:
        more = ("--samples", "6", "--choices", "1", "--timeout", "2", "--concurrency", "16")
        assert generate(path, teacher, ledger, *more) == 0
        totals = teacher.bill.totals()
    assert len(list(accounts.chains(ledger))) == 360
    assert 360 < totals["requests"] <= 1.3 * 360
    assert sum(totals["faults"].values()) > 20
    cost = accounts.spent(ledger)
    # What nobody can know was charged is charged at its most.
    assert cost.completion_tokens >= totals["completion_tokens"]
    assert cost.prompt_tokens >= totals["prompt_tokens"]
    assert "retry" in capsys.readouterr().out


def test_a_refusal_stops_at_once_with_the_servers_words(problems, tmp_path, capsys, monkeypatch):
    path, made = problems
    monkeypatch.setenv("T5DISTILL_API_KEY", "sk-wrong-planted")
    with LoopbackTeacher(made, api_key="sk-right") as teacher:
        assert generate(path, teacher, tmp_path / "l.db", "--concurrency", "2") == 2
        assert len(teacher.bill.entries) <= 2 * 3
    printed = capsys.readouterr()
    assert "HTTP 401" in printed.err
    assert "planted" not in printed.out + printed.err
    for file in tmp_path.iterdir():
        assert b"planted" not in file.read_bytes()


@pytest.mark.parametrize(
    ("spec", "variable"),
    [("m@https://host:1/v1", "T5DISTILL_API_KEY"), ("openai:m", "OPENAI_API_KEY")],
)
def test_a_key_goes_to_whom_it_belongs(monkeypatch, spec, variable):
    for name in ("T5DISTILL_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, f"sk-{name}")
    settings = {"endpoint": "chat", "timeout_s": 1}
    assert Client(parse_server(spec), **settings).sdk.api_key == f"sk-{variable}"
    # The other's is no help.
    monkeypatch.delenv(variable)
    with pytest.raises(UserError, match=rf"set \${variable}"):
        Client(parse_server(spec), **settings)


def test_the_budget_is_never_exceeded(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, faults=FAULTS, seed=5) as teacher:
        more = ("--samples", "20", "--timeout", "2", "--budget", "30000tokens", "--choices", "1")
        assert generate(path, teacher, ledger, *more) == 1
        billed = teacher.bill.totals()
    assert accounts.spent(ledger).tokens <= 30000
    assert billed["prompt_tokens"] + billed["completion_tokens"] <= 30000
    assert accounts.spent(ledger).tokens > 20000
    assert "the budget is spent" in capsys.readouterr().out


def test_rate_limits_are_kept(problems, tmp_path):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        process = start(path, teacher.url, tmp_path / "l.db", "--requests-per-minute", "25")
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert len(generated(teacher)) == 25


def start(path, url, ledger, *more):
    command = ["generate", "--problems", str(path), "--teacher", f"loopback@{url}"]
    return subprocess.Popen(
        [sys.executable, "-m", "t5distill", *command, "--ledger", str(ledger), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )


def test_ctrl_c_keeps_every_paid_answer(problems, tmp_path):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, latency_s=0.4) as teacher:
        process = start(path, teacher.url, ledger, "--concurrency", "4")
        while len(generated(teacher)) < 10:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1 and "interrupted" in out
        assert len(list(accounts.chains(ledger))) == len(generated(teacher)) < 60
        assert generate(path, teacher, ledger) == 0
        assert len(generated(teacher)) == 60


def test_a_second_ctrl_c_leaves_what_is_under_way(problems, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, latency_s=60) as teacher:
        process = start(path, teacher.url, ledger, "--concurrency", "4")
        assert process.stdout is not None
        assert any(line.endswith("to ask for\n") for line in process.stdout)
        while accounts.overview(ledger)["attempts"].get("in flight", 0) < 4:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert any("again to leave them" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 130
    assert "stopped" in out and "Traceback" not in out
    # Nobody knows whether they were charged.
    with Ledger(ledger):
        assert accounts.overview(ledger)["attempts"] == {"unknown": 4}


def kills(path, made, ledger, *, times, more=()):
    """Run, kill -9 at other moments each time, run to the end; compare ledger and bill."""
    with LoopbackTeacher(made, latency_s=0.05) as teacher:
        for i in range(times):
            process = start(path, teacher.url, ledger, "--concurrency", "8", *more)
            seen = len(generated(teacher))
            deadline = time.monotonic() + 20
            while len(generated(teacher)) < seen + 1 + 5 * (i % 7) and time.monotonic() < deadline:
                time.sleep(0.001)
            process.kill()
            process.communicate()
        assert generate(path, teacher, ledger, *more) == 0
        entries = generated(teacher)
        totals = teacher.bill.totals()
    unknown = accounts.overview(ledger)["attempts"].get("unknown", 0)
    wanted = len(list(accounts.chains(ledger)))
    # Paid for twice is at most what was in flight at a kill, and all of that is charged.
    assert len(entries) - wanted <= unknown <= 8 * times
    cost = accounts.spent(ledger)
    assert cost.completion_tokens >= totals["completion_tokens"]
    assert cost.prompt_tokens >= totals["prompt_tokens"]
    return wanted


def test_kill_9_loses_no_answer_and_pays_none_twice(problems, tmp_path):
    path, made = problems
    assert kills(path, made, tmp_path / "l.db", times=4, more=("--samples", "3")) == 180


@pytest.mark.soak
def test_fifty_kills(problems, tmp_path):
    path, made = problems
    more = ("--samples", "40", "--choices", "1")
    assert kills(path, made, tmp_path / "l.db", times=50, more=more) == 2400


@pytest.mark.soak
def test_sixteen_thousand_answers_through_faults(tmp_path):
    made = embedded.generate(count=2000, seed=2, split="train")
    path, ledger = tmp_path / "train.jsonl", tmp_path / "l.db"
    write_jsonl(path, made)
    with LoopbackTeacher(made, faults=FAULTS, seed=7) as teacher:
        more = ("--samples", "8", "--choices", "1", "--timeout", "3")
        assert generate(path, teacher, ledger, *more) == 0
        assert teacher.bill.totals()["requests"] <= 1.3 * 16000
    assert len(list(accounts.chains(ledger))) == 16000


def test_dry_run_sends_nothing_and_tells_the_cost(problems, tmp_path, capsys):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        more = ("--dry-run", "--price-prompt", "0.5", "--price-completion", "1.5")
        assert generate(path, teacher, tmp_path / "l.db", *more) == 0
        assert teacher.bill.entries == []
    out = capsys.readouterr().out
    assert made[0].question in out and "at most" in out and "cost" in out
    assert not (tmp_path / "l.db").exists()


def test_the_embedded_teacher_and_curate(problems, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    path, _ = problems
    ledger = tmp_path / "l.db"
    assert generate(path, "embedded", ledger, "--samples", "2") == 0
    assert main(["curate", "--problems", str(path), "--ledger", str(ledger)]) == 0
    [kept] = (tmp_path / "data/chains").glob("*/kept.jsonl")
    assert len({c.problem_id for c in read_jsonl(Chain, kept)}) == 60
    assert main(["ledger", "show", str(ledger)]) == 0
    assert "embedded cot embedded" in capsys.readouterr().out


def test_chains_made_elsewhere_enter_by_the_same_door(problems, tmp_path):
    path, made = problems
    chains = [
        Chain(problem_id=p.id, style="cot", text=p.solution or "", teacher="palm") for p in made
    ]
    source, ledger = tmp_path / "palm.jsonl", tmp_path / "l.db"
    write_jsonl(source, chains)
    for _ in range(2):
        assert generate(path, f"replay:{source}", ledger) == 0
    assert main(["ledger", "export", str(ledger), "--out", str(tmp_path / "out.jsonl")]) == 0
    out = list(read_jsonl(Chain, tmp_path / "out.jsonl"))
    assert sorted(c.text for c in out) == sorted(c.text for c in chains)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--teacher", "gpt"), "wanted MODEL@URL"),
        (("--style", "cott"), "cot"),
        (("--prompt", "coz"), "cot"),
        (("--budget", "five"), "wanted money"),
        (("--budget", "5.00"), "--price-prompt"),
        (("--samples", "0"), "at least 1"),
        (("--samples", "2", "--temperature", "0"), "above 0"),
        (("--body", "[1]"), "JSON object"),
        (("--limit", "-3"), "at least 1"),
        (("--timeout", "-1"), "at least"),
        (("--budget", "5.00", "--price-prompt", "1"), "--price-completion"),
        (("--price-prompt", "-1"), "at least 0"),
        (("--style", "program", "--prompt", "zero_shot_cot"), "asks for style cot"),
    ],
)
def test_mistakes_are_named(problems, tmp_path, capsys, more, message):
    path, _ = problems
    base = ["generate", "--problems", str(path), "--ledger", str(tmp_path / "l.db")]
    assert main([*base, "--teacher", "m@http://127.0.0.1:9/v1", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "l.db").exists()


def test_chains_made_with_other_options_are_spoken_of(problems, tmp_path, capsys):
    path, items = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(items) as teacher:
        assert generate(path, teacher, ledger, "--limit", "5") == 0
        assert "more cot chains" not in capsys.readouterr().out
        assert generate(path, teacher, ledger, "--limit", "5", "--show-gold") == 0
        assert "the ledger has 5 more cot chains" in capsys.readouterr().out
        assert generate(path, teacher, ledger, "--limit", "5", "--show-gold", "--name", "b") == 0
        assert "more cot chains" not in capsys.readouterr().out


def test_progress_is_told_without_a_terminal(problems, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(showing, "_LINE_EVERY_S", 0.0)
    path, items = problems
    with LoopbackTeacher(items) as teacher:
        assert generate(path, teacher, tmp_path / "l.db") == 0
    out = capsys.readouterr().out
    assert f" of {len(items):,} chains, " in out and "s left" in out


def test_a_spent_budget_says_what_goes_on(problems, tmp_path, capsys):
    path, items = problems
    with LoopbackTeacher(items) as teacher:
        more = ("--budget", "2000tokens")
        assert generate(path, teacher, tmp_path / "l.db", *more) == 1
    assert "with a larger --budget goes on" in capsys.readouterr().out


def test_a_server_that_is_not_there(problems, tmp_path, capsys):
    path, _ = problems
    more = ("--max-attempts", "1", "--limit", "3")
    assert generate(path, "m@http://127.0.0.1:9/v1", tmp_path / "l.db", *more) == GIVEN_UP
    out = capsys.readouterr().out
    assert "3 requests given up after 1 attempts" in out and "ClientConnectorError" in out
    assert accounts.spent(tmp_path / "l.db").tokens == 0
    assert len(accounts.failed(tmp_path / "l.db")) == 3


def test_bodies_are_what_the_protocol_wants(problems, tmp_path):
    import argparse

    from t5distill.teacher import plan
    from t5distill.teacher.command import add_arguments

    path, made = problems
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(
        [
            *("--problems", str(path), "--teacher", "m@http://h/v1", "--ledger", "x.db"),
            *("--samples", "3", "--seed", "7", "--show-gold"),
            *("--body", '{"max_tokens": null, "max_completion_tokens": 9}'),
        ]
    )
    planned = plan.make(args)
    [first, *_] = planned.requests(planned.keys)
    assert first.body["n"] == 3 and first.body["seed"] == 7
    assert "max_tokens" not in first.body and first.body["max_completion_tokens"] == 9
    assert f"The answer is {made[0].answer}." in first.body["messages"][-1]["content"]
    assert json.dumps(first.body)


@pytest.mark.parametrize(
    ("behaviour", "sent"),
    [("refuse", False), ("reset after the request", True), ("close after the request", True)],
)
def test_what_was_sent_is_charged_when_no_reply_comes(behaviour, sent):
    """A connection that breaks once the request is out may have cost something."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if behaviour.startswith("reset"):
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async def send():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if behaviour == "refuse":
            server.close()
            await server.wait_closed()
        async with Client(
            Server("m", f"http://127.0.0.1:{port}/v1"), endpoint="chat", timeout_s=9
        ) as c:
            with pytest.raises(NoReplyError) as caught:
                await c.send({"model": "m", "messages": []})
        server.close()
        return caught.value

    assert asyncio.run(send()).sent == sent
