"""The ledger: what is on the disk survives; what is not there was not said to be."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from t5distill.errors import UserError
from t5distill.records import Chain
from t5distill.teacher import accounts
from t5distill.teacher.imports import imported
from t5distill.teacher.ledger import Answer, Cost, Item, Ledger
from t5distill.teacher.rescue import Rescue

SMALL = {"rescue_bytes": 2**16}
RESERVE = Cost(10, 20, 0.5)


def item(i: int) -> Item:
    return Item(f"key{i}", f"p{i}", "toy", "cot", "teacher", 0, "sha")


def answer_one(ledger: Ledger, i: int) -> None:
    ledger.add_items([item(i)], [("sha", "a prompt")]).result()
    number = ledger.intend([f"key{i}"], RESERVE).result()
    ledger.receive(number, 200, b"raw").result()
    answers = [Answer(f"key{i}", f"text {i}", "stop")]
    ledger.conclude(number, "answered", answers=answers, cost=Cost(1, 2, 0.25)).result()


def test_answers_come_back_as_chains(tmp_path):
    path = tmp_path / "l.db"
    with Ledger(path, **SMALL) as ledger:
        for i in range(3):
            answer_one(ledger, i)
        assert accounts.answered(path, ["key0", "key2", "other"]) == {"key0", "key2"}
    chains = list(accounts.chains(path, benchmarks=["toy"], style="cot", teacher="teacher"))
    assert [c.text for c in chains] == ["text 0", "text 1", "text 2"]
    assert chains[0].prompt_sha == "sha" and chains[0].meta == {"finish_reason": "stop"}
    assert list(accounts.chains(path, style="answer")) == []
    assert accounts.spent(path) == Cost(3, 6, 0.75)
    assert accounts.overview(path)["sets"] == [("toy", "cot", "teacher", 3, 3)]


def test_what_is_unknown_stays_charged(tmp_path):
    path = tmp_path / "l.db"
    with Ledger(path, **SMALL) as ledger:
        for cost, outcome in ((None, "unknown"), (Cost(), "retry")):
            number = ledger.intend(["key0"], RESERVE).result()
            ledger.conclude(number, outcome, cost=cost, error="why").result()
        ledger.intend(["key1"], RESERVE).result()  # and no end
        assert accounts.spent(path) == Cost(20, 40, 1.0)
    with Ledger(path, **SMALL):
        assert accounts.overview(path)["attempts"] == {"unknown": 2, "retry": 1}
        assert accounts.spent(path) == Cost(20, 40, 1.0)
        assert accounts.failed(path) == {"key0", "key1"}


def test_a_stored_reply_is_given_back_until_it_is_concluded(tmp_path):
    path = tmp_path / "l.db"
    with Ledger(path, **SMALL) as ledger:
        number = ledger.intend(["key0"], RESERVE).result()
        ledger.receive(number, 200, b"\xff raw").result()
    with Ledger(path, **SMALL) as ledger:
        assert ledger.unparsed() == [(number, ["key0"], 200, b"\xff raw", RESERVE)]
        ledger.conclude(number, "malformed", cost=RESERVE, error="bad").result()
        assert ledger.unparsed() == []


def test_one_writer_at_a_time_and_any_reader(tmp_path):
    path = tmp_path / "l.db"
    with Ledger(path, **SMALL) as ledger:
        answer_one(ledger, 0)
        with pytest.raises(UserError, match="another process"):
            Ledger(path, **SMALL)
        assert accounts.answered(path, ["key0"]) == {"key0"}
    Ledger(path, **SMALL).close()


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at\n" * 100)
    with pytest.raises(UserError, match="not a ledger"):
        Ledger(path, **SMALL)
    assert path.read_text().startswith("not a database")
    with pytest.raises(UserError, match="no such ledger"):
        accounts.spent(tmp_path / "missing.db")


def test_the_same_chain_is_imported_once(tmp_path):
    path = tmp_path / "l.db"
    tokens = [{"text": "a", "top": [["a", -0.1]]}]
    chains = [
        Chain(problem_id="p", style="cot", text=text, teacher="palm", meta={"tokens": tokens})
        for text in ("one", "two", "one")
    ]
    for new in (2, 0):
        with Ledger(path, **SMALL) as ledger:
            assert ledger.import_answers(imported(c, "svamp") for c in chains).result() == new
    found = list(accounts.chains(path, benchmarks=["svamp"]))
    assert sorted(c.text for c in found) == ["one", "two"]
    assert all(c.meta["tokens"] == tokens for c in found)


WRITER = """
import sys
from t5distill.teacher.ledger import Answer, Cost, Item, Ledger
with Ledger(sys.argv[1], rescue_bytes=2**16) as ledger:
    for i in range(int(sys.argv[2]), 10**6):
        key = f"key{i}"
        ledger.add_items([Item(key, f"p{i}", "toy", "cot", "teacher", 0, None)], []).result()
        number = ledger.intend([key], Cost(10, 20, 0.5)).result()
        print("sent", i, flush=True)
        ledger.receive(number, 200, f"reply {i}".encode()).result()
        print("received", i, flush=True)
        ledger.conclude(number, "answered", answers=[Answer(key, f"text {i}")], cost=Cost(1, 1))
"""


def test_kill_9_loses_nothing_that_was_said_to_be_safe(tmp_path):
    path, begin = tmp_path / "l.db", 0
    received: set[int] = set()
    for pause in (0.02, 0.15, 0.3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(begin)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        said = [first.split(), *(line.split() for line in process.stdout if line.endswith("\n"))]
        process.wait()
        sent = {int(i) for what, i in said if what == "sent"}
        received |= {int(i) for what, i in said if what == "received"}
        with Ledger(path, **SMALL) as ledger:
            for number, keys, _, raw, _ in ledger.unparsed():
                answers = [Answer(keys[0], raw.decode().replace("reply", "text"))]
                ledger.conclude(number, "answered", answers=answers, cost=Cost(1, 1)).result()
            stored = accounts.answered(path, {f"key{i}" for i in range(begin, max(sent) + 2)})
            assert {f"key{i}" for i in received if i >= begin} <= stored
            unknown = accounts.overview(path)["attempts"].get("unknown", 0)
        begin = max(sent) + 2
        assert unknown <= 3  # one attempt in flight for each kill
    texts = {c.problem_id: c.text for c in accounts.chains(path)}
    assert {f"p{i}": f"text {i}" for i in received}.items() <= texts.items()


FILLER = """
import resource, sys
from t5distill.errors import UserError
from t5distill.teacher.ledger import Cost, Ledger
limit, under_way = int(sys.argv[2]), 4
reply = b"x" * 3000
with Ledger(sys.argv[1], rescue_bytes=2**17) as ledger:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for begin in range(0, 10**6, under_way):
        some = range(begin, begin + under_way)
        sent, refused = {}, None
        for i, number in {i: ledger.intend([f"key{i}"], Cost()) for i in some}.items():
            try:
                sent[i] = number.result()
            except UserError as e:
                refused = e
        stored = {i: ledger.receive(n, 200, reply + str(i).encode()) for i, n in sent.items()}
        for i, future in stored.items():
            try:
                future.result()
            except UserError as e:
                print("rescued" if "is safe in" in str(e) else "lost")
            print("paid", i)
        if refused:
            print("refused", refused)
            break
"""

# Up to 4 MB the log of what is not yet in the database meets the limit, beyond it both files do.
# None is a multiple of a page, so that writes are cut in their middle too.
FULL = [round(160_000 * 1.23**i) | 1 for i in range(20)]


def test_a_full_disk_loses_no_paid_reply_wherever_it_fills(tmp_path):
    rescued = 0
    for limit in FULL:
        path = tmp_path / str(limit) / "l.db"
        ran = subprocess.run(
            [sys.executable, "-c", FILLER, str(path), str(limit)],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = ran.stdout.splitlines()
        assert "lost" not in lines, limit
        assert lines[-1].startswith("refused") and "free some space" in lines[-1], limit
        rescued += lines.count("rescued")
        paid = {int(line.split()[1]) for line in lines if line.startswith("paid")}
        assert len(paid) >= 4
        # Space is there again, as the limit was that process's own.
        with Ledger(path, rescue_bytes=2**17) as ledger:
            unparsed = ledger.unparsed()
        assert sorted(raw for *_, raw, _ in unparsed) == sorted(
            b"x" * 3000 + str(i).encode() for i in paid
        ), limit
        shutil.rmtree(path.parent)
    # The points are no lucky ones: replies came for which the ledger had no room.
    assert rescued >= len(FULL)


def test_the_rescue_file_keeps_whole_frames_only(tmp_path):
    rescue = Rescue(tmp_path / "r", 1000)
    assert rescue.save(1, 200, b"one") and rescue.save(2, 500, b"two")
    assert not rescue.save(3, 200, bytes(1000))
    size = os.path.getsize(tmp_path / "r")
    rescue.close()
    with open(tmp_path / "r", "r+b") as f:  # the second frame was torn by a crash
        f.seek(24 + 3 + 24)
        f.write(b"X")
    again = Rescue(tmp_path / "r", 1000)
    assert list(again.saved()) == [(1, 200, b"one")]
    again.clear()
    assert list(again.saved()) == [] and os.path.getsize(tmp_path / "r") == size
    again.close()


def test_no_room_for_the_rescue_file_is_said_at_the_start(tmp_path):
    code = (
        "import resource, sys\n"
        "from t5distill.errors import UserError\n"
        "from t5distill.teacher.ledger import Ledger\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500000, 500000))\n"
        "try:\n    Ledger(sys.argv[1])\nexcept UserError as e:\n    print(e)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "l.db")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no room for 16 MB" in ran.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 500000
