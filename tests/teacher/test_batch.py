"""`generate --batch` against a real server: nothing paid twice, nothing lost, whatever happens."""

from __future__ import annotations

import json
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

import openai
import pytest

from t5distill.__main__ import main
from t5distill.teacher import accounts
from t5distill.teacher.asking import Request
from t5distill.teacher.batch import book, lines
from t5distill.teacher.command import GIVEN_UP
from t5distill.teacher.ledger import Cost, Ledger
from t5distill.teacher.loopback import Faults, LoopbackTeacher
from t5distill.verify import judge

QUICK = ("--batch", "--batch-poll", "0.05")


@pytest.fixture(scope="module")
def problems(write_problems):
    return write_problems(count=60, seed=1)


def command(path, url, ledger, *more):
    return [
        *("generate", "--problems", str(path), "--teacher", f"loopback@{url}"),
        *("--ledger", str(ledger), *QUICK, *more),
    ]


def generate(path, teacher, ledger, *more):
    return main(command(path, teacher.url, ledger, *more))


def start(path, url, ledger, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "t5distill", *command(path, url, ledger, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )


def billed_batches(teacher):
    return {e.batch_id for e in teacher.bill.entries if e.billed}


def never_below_the_bill(ledger, teacher):
    cost, totals = accounts.spent(ledger), teacher.bill.totals()
    assert cost.prompt_tokens >= totals["prompt_tokens"]
    assert cost.completion_tokens >= totals["completion_tokens"]
    return cost, totals


def seen(teacher, method, ending):
    """Return the calls of a method whose path has that ending."""
    return [e for e in teacher.bill.entries if e.method == method and e.path.endswith(ending)]


def test_a_batch_gives_what_single_requests_give(problems, tmp_path, capsys):
    path, made = problems
    ledger, direct = tmp_path / "l.db", tmp_path / "direct.db"
    with LoopbackTeacher(made, seed=3, batch_polls=3) as teacher:
        more = ("--samples", "3", "--choices", "2", "--top-logprobs", "2")
        assert generate(path, teacher, ledger, *more) == 0
        assert len(billed_batches(teacher)) == 1
        cost, totals = never_below_the_bill(ledger, teacher)
        assert cost[:2] == (totals["prompt_tokens"], totals["completion_tokens"])
        sent = len(teacher.bill.entries)
        assert generate(path, teacher, ledger, *more) == 0
        assert len(teacher.bill.entries) == sent, "the second run asked for something"
        base = [arg for arg in command(path, teacher.url, direct, *more) if arg not in QUICK]
        assert main(base) == 0
    assert list(accounts.chains(ledger)) == list(accounts.chains(direct))
    assert len(list(accounts.chains(ledger))) == 180
    out = capsys.readouterr().out
    assert "batch batch_1 in_progress: 40 of 120 done" in out and "elapsed, about" in out
    assert book.open_batches(ledger) == [] and not list(tmp_path.glob("*.part"))


def test_completions_are_batched_too(problems, tmp_path):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        assert generate(path, teacher, tmp_path / "l.db", "--endpoint", "completions") == 0
    assert len(list(accounts.chains(tmp_path / "l.db"))) == 60


FAULTS = Faults(
    too_many_requests=0.1,
    server_error=0.1,
    reset=0.1,
    hang=0.03,
    truncated=0.1,
    bad_utf8=0.1,
    retry_after_s=0.05,
)


@pytest.mark.parametrize("seed", [5, 6])
def test_faults_of_every_call_are_outlived(problems, tmp_path, seed):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, faults=FAULTS, seed=seed) as teacher:
        more = ("--timeout", "1", "--batch-requests", "20", "--max-attempts", "20")
        assert generate(path, teacher, ledger, *more) == 0
        assert len(teacher.bill.totals()["faults"]) > 3
        never_below_the_bill(ledger, teacher)
    gold = {p.id: p.answer for p in made}
    chains = list(accounts.chains(ledger))
    assert len(chains) == 60
    assert all(judge(c.text, gold[c.problem_id], "numeric").outcome == "correct" for c in chains)


def at_intent(teacher, ledger):
    with sqlite3.connect(ledger) as database:
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone()
        return found and database.execute("SELECT 1 FROM batches").fetchone()


def at_download(teacher, ledger):
    return seen(teacher, "GET", "/content")


KILLS = {
    "intents written": at_intent,
    "uploaded": lambda teacher, _: seen(teacher, "POST", "/files"),
    "created, its id unknown": lambda teacher, _: seen(teacher, "POST", "/batches"),
    "polled": lambda teacher, _: seen(teacher, "GET", "/batch_1"),
    "downloading": at_download,
}


@pytest.mark.parametrize("moment", KILLS)
def test_kill_9_pays_no_batch_twice(problems, tmp_path, moment):
    path, made = problems
    ledger = tmp_path / "l.db"
    # Replies take a while, so that the kill comes between the server's work and its reply.
    with LoopbackTeacher(made, batch_latency_s=0.15, batch_polls=2) as teacher:
        prices = ("--price-prompt", "1", "--price-completion", "2")
        process = start(path, teacher.url, ledger, *prices)
        while not (ledger.exists() and KILLS[moment](teacher, ledger)):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.kill()
        process.communicate()
        assert main(["ledger", "show", str(ledger)]) == 0
        assert generate(path, teacher, ledger) == 0
        assert len(billed_batches(teacher)) == 1
        cost, totals = never_below_the_bill(ledger, teacher)
        assert cost[:2] == (totals["prompt_tokens"], totals["completion_tokens"])
        if moment not in ("intents written", "uploaded"):
            # The prices are those of the command that sent it.
            money = totals["prompt_tokens"] + 2 * totals["completion_tokens"]
            assert cost.money == pytest.approx(money / 1e6)
    assert len(list(accounts.chains(ledger))) == totals["choices"] == 60
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_kills_at_random_moments_among_faults(problems, tmp_path, seed):
    path, made = problems
    ledger, rng = tmp_path / "l.db", random.Random(seed)
    more = ("--batch-requests", "25", "--timeout", "1", "--max-attempts", "20", "--samples", "3")
    more = (*more, "--prompt", "zero_shot_two_call", "--choices", "2")
    with LoopbackTeacher(made, faults=FAULTS, seed=seed, batch_latency_s=0.02) as teacher:
        for _ in range(12):
            process = start(path, teacher.url, ledger, *more)
            wanted = len(teacher.bill.entries) + rng.randint(1, 60)
            while len(teacher.bill.entries) < wanted and process.poll() is None:
                time.sleep(0.001)
            process.kill()
            process.communicate()
        assert generate(path, teacher, ledger, *more) == 0
        cost, totals = never_below_the_bill(ledger, teacher)
        # 120 rationale requests for 180 rationales, and an answer for each: every one once.
        assert totals["choices"] == 360
        assert cost[:2] == (totals["prompt_tokens"], totals["completion_tokens"])
    assert len(list(accounts.chains(ledger))) == 180


def test_a_creation_that_was_lost_and_came_after_all_is_charged(problems, tmp_path):
    """A second batch of one token is cancelled and charged in full."""
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, batch_latency_s=0.1, batch_polls=2) as teacher:
        process = start(path, teacher.url, ledger)
        while not seen(teacher, "POST", "/batches"):
            time.sleep(0.002)
        process.kill()
        process.communicate()
        [batch] = book.open_batches(ledger)
        assert batch.batch_id is None and batch.creations == 1
        with openai.OpenAI(base_url=teacher.url, api_key="none") as client:
            [first] = client.batches.list().data
            twin = client.batches.create(
                input_file_id=first.input_file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata=first.metadata,
            )
            client.batches.retrieve(twin.id)  # half of it is answered
            with Ledger(ledger, rescue_bytes=2**16) as writer:
                writer.write(lambda d: d.execute("UPDATE batches SET creations = 2")).result()
            assert generate(path, teacher, ledger) == 0
            assert client.batches.retrieve(twin.id).status == "cancelled"
        cost, totals = never_below_the_bill(ledger, teacher)
        assert totals["choices"] == 90 and cost.completion_tokens > totals["completion_tokens"]


def test_single_requests_take_over_what_was_never_created(problems, tmp_path):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, batch_latency_s=0.15) as teacher:
        process = start(path, teacher.url, ledger)
        while not seen(teacher, "POST", "/files"):
            time.sleep(0.002)
        process.kill()
        process.communicate()
        assert len(accounts.under_way(ledger)) == 60 and accounts.spent(ledger).tokens > 0
        assert main([a for a in command(path, teacher.url, ledger) if a not in QUICK]) == 0
        cost, totals = never_below_the_bill(ledger, teacher)
        assert cost[:2] == (totals["prompt_tokens"], totals["completion_tokens"])
    assert accounts.under_way(ledger) == set()


def test_ctrl_c_leaves_the_batch_at_the_provider(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, batch_polls=10_000) as teacher:
        process = start(path, teacher.url, ledger)
        while not seen(teacher, "GET", "/batch_1"):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
        assert process.returncode == 1, out
        assert "batch batch_1 goes on at the provider; the same command fetches its answers" in out
        assert main(["ledger", "show", str(ledger)]) == 0
        shown = capsys.readouterr().out
        assert "open batches" in shown and "batch_1 at http://127.0.0.1" in shown
        assert main([*command(path, teacher.url, ledger), "--dry-run"]) == 0
        assert "open batches ask for 60 samples" in capsys.readouterr().out
        # Single requests leave its samples alone; given up, they are asked for again.
        direct = [a for a in command(path, teacher.url, ledger) if a not in QUICK]
        assert main(direct) == 1
        assert "batch_1" in capsys.readouterr().out
        assert not [e for e in seen(teacher, "POST", "completions") if e.batch_id is None]
        with LoopbackTeacher(made, port=0) as other, sqlite3.connect(ledger) as database:
            # Another account does not know it: said with a way out, and nothing is lost.
            here = book.address(other.url)
            database.execute("UPDATE batches SET server = ?", (here,))
            database.commit()
            assert generate(path, other, ledger) == 2
            assert f"ledger abandon {ledger} --batch batch_1" in capsys.readouterr().err
            assert not seen(other, "POST", "/batches")
        assert main(["ledger", "abandon", str(ledger), "--batch", "batch_7"]) == 2
        assert "open are: batch_1" in capsys.readouterr().err
        assert main(["ledger", "abandon", str(ledger), "--batch", "batch_1"]) == 0
        assert main(direct) == 0
        never_below_the_bill(ledger, teacher)


def test_a_second_ctrl_c_ends_at_once(problems, tmp_path):
    path, made = problems
    with LoopbackTeacher(made, batch_latency_s=30.0) as teacher:
        process = start(path, teacher.url, tmp_path / "l.db")
        while not teacher.bill.entries:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while "stopping" not in (line := process.stdout.readline()):
            assert line, "it ended before it was told to twice"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 130 and "Traceback" not in out


@pytest.mark.parametrize("outcome", ["expired", "full"])
def test_what_a_batch_left_out_is_asked_again(problems, tmp_path, outcome):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, batch_outcomes=[outcome]) as teacher:
        assert generate(path, teacher, ledger) == 0
        assert len(seen(teacher, "POST", "/batches")) == 2
        assert teacher.bill.totals()["choices"] == 60
        cost, totals = never_below_the_bill(ledger, teacher)
        assert cost.completion_tokens == totals["completion_tokens"]
    assert len(list(accounts.chains(ledger))) == 60
    assert accounts.overview(ledger)["attempts"]["retry"] == {"expired": 30, "full": 60}[outcome]


def test_attempts_have_an_end_and_the_reason_is_told(problems, tmp_path, capsys):
    path, made = problems
    with LoopbackTeacher(made, batch_outcomes=["expired"] * 9) as teacher:
        assert generate(path, teacher, tmp_path / "l.db", "--max-attempts", "2") == GIVEN_UP
        assert len(seen(teacher, "POST", "/batches")) == 2
    out = capsys.readouterr().out
    assert "15 requests given up after 2 attempts" in out and "batch_expired" in out


def test_a_batch_cancelled_elsewhere_keeps_what_it_has(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made, batch_polls=12, batch_latency_s=0.1) as teacher:
        process = start(path, teacher.url, ledger)
        while not seen(teacher, "GET", "/batch_1"):
            time.sleep(0.005)
        with openai.OpenAI(base_url=teacher.url, api_key="none") as client:
            client.batches.cancel("batch_1")
        out, _ = process.communicate()
        assert process.returncode == 1 and "batch_1 was cancelled at the provider" in out
        kept = len(list(accounts.chains(ledger)))
        assert 0 < kept < 60
        assert generate(path, teacher, ledger) == 0
        cost, totals = never_below_the_bill(ledger, teacher)
        assert totals["choices"] == 60 and cost.completion_tokens == totals["completion_tokens"]


def test_the_budget_admits_what_its_reserves_allow(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made) as teacher:
        assert generate(path, teacher, ledger, "--budget", "15000tokens") == 1
        assert accounts.spent(ledger).tokens <= 15000
        _, totals = never_below_the_bill(ledger, teacher)
        # Reserves are above costs: what the first batch left over pays for another.
        assert len(billed_batches(teacher)) > 1 and 10 < totals["choices"] < 60
        assert "the budget is spent" in capsys.readouterr().out
        assert generate(path, teacher, ledger) == 0
        assert teacher.bill.totals()["choices"] == 60


def test_more_than_one_file_holds_goes_into_several(problems, tmp_path):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        assert generate(path, teacher, tmp_path / "l.db", "--batch-requests", "25") == 0
        assert len(billed_batches(teacher)) == 3
    requests = [Request([str(i)], {"prompt": "x" * i}, Cost()) for i in range(300)]
    groups = list(lines.split(requests, "/v1/completions", most_bytes=4000))
    assert [r for group in groups for r in group] == requests
    for group in groups:
        size = sum(len(lines.line(10**18, "/v1/completions", r.body)) for r in group)
        assert size <= 4000


@pytest.mark.parametrize("key", ["sk-right-planted", "sk-wrong-planted"])
def test_a_key_is_written_nowhere(problems, tmp_path, capsys, monkeypatch, key):
    path, made = problems
    monkeypatch.setenv("T5DISTILL_API_KEY", key)
    with LoopbackTeacher(made, api_key="sk-right-planted") as teacher:
        right = "right" in key
        assert generate(path, teacher, tmp_path / "l.db") == (0 if right else 2)
        assert right or len(teacher.bill.entries) == 1
    printed = capsys.readouterr()
    assert right or "HTTP 401" in printed.err
    assert "planted" not in printed.out + printed.err
    for file in tmp_path.iterdir():
        assert b"planted" not in file.read_bytes()
    assert book.address("https://user:secret@host:1/v1/?key=s") == "https://host:1/v1"


def test_a_refused_line_stops_the_run_with_the_servers_words(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made) as teacher:
        assert generate(path, teacher, ledger, "--body", '{"tools": ["x"]}') == 2
        assert len(seen(teacher, "POST", "/batches")) == 1
    assert "HTTP 400: Invalid value for 'tools'" in capsys.readouterr().err
    assert accounts.spent(ledger).tokens == 0 and book.open_batches(ledger) == []


def test_servers_without_a_batch_api_are_named(problems, tmp_path, capsys):
    path, made = problems
    with LoopbackTeacher(made) as teacher:
        spec = f"loopback@{teacher.url.removesuffix('/v1')}/nowhere"
        base = ["--problems", str(path), "--ledger", str(tmp_path / "l.db"), "--batch"]
        assert main(["generate", *base, "--teacher", spec]) == 2
        assert "has no batch API" in capsys.readouterr().err
        assert accounts.overview(tmp_path / "l.db")["attempts"] == {}
    assert main(["generate", *base, "--teacher", "embedded"]) == 2
    assert "loopback" in capsys.readouterr().err


def test_a_ledger_of_version_1_is_opened_without_loss(problems, tmp_path, capsys):
    path, made = problems
    ledger = tmp_path / "l.db"
    with LoopbackTeacher(made) as teacher:
        direct = [a for a in command(path, teacher.url, ledger) if a not in QUICK]
        assert main([*direct, "--limit", "20"]) == 0
        before = list(accounts.chains(ledger))
        with sqlite3.connect(ledger) as database:
            database.executescript(
                "DROP INDEX batched; ALTER TABLE attempts DROP COLUMN batch; DROP TABLE batches;"
                "PRAGMA user_version = 1;"
            )
        assert main(["ledger", "show", str(ledger)]) == 0
        assert accounts.under_way(ledger) == set()
        assert generate(path, teacher, ledger) == 0
        assert teacher.bill.totals()["choices"] == 60
    after = list(accounts.chains(ledger))
    assert len(after) == 60 and all(chain in after for chain in before)


def test_lines_come_back_as_they_were_written():
    body = b'{"choices": [ {"index":0,"text":"\\u00e9 \\"body\\": {}"} ],"usage" :null}'
    raw = b'{"custom_id":"attempt-7","response":{"status_code":200,"body": %s},"error":null}' % body
    assert lines.read(raw) == lines.Back(7, 200, body, "")
    error = {"custom_id": "attempt-8", "response": None, "error": {"code": "c", "message": "m"}}
    assert lines.read(json.dumps(error).encode()) == lines.Back(8, None, b"", "c: m")
    for bad in (b"", b"{", b"[]", b'{"custom_id": 7}', b'{"custom_id": "x"}', raw[:-9], b"\xff"):
        assert lines.read(bad) is None
