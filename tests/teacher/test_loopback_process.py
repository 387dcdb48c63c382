"""The loopback teacher as a process: its one line, its signals, its refusals."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from t5distill.errors import UserError
from t5distill.records import write_jsonl
from t5distill.teacher.loopback import LoopbackProcess
from t5distill.teacher.loopback.answers import Writer

MODULE = (sys.executable, "-m", "t5distill.teacher.loopback")


@pytest.fixture
def problem_file(problems, tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", problems)
    return tmp_path / "problems.jsonl"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(problem_file, problems, tmp_path, number):
    bill = tmp_path / "bill.jsonl"
    command = [*MODULE, "--problems", str(problem_file), "--bill", str(bill), "--api-key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said, _, url = process.stdout.readline().strip().rpartition(" ")
            assert said == "listening on"
            fields = {"model": "loopback", "prompt": problems[0].question}
            headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
            request = urllib.request.Request(
                f"{url}/completions", data=json.dumps(fields).encode(), headers=headers
            )
            with urllib.request.urlopen(request) as response:
                assert json.load(response)["object"] == "text_completion"
            # The line is in the file while the process lives: it may end in any way.
            assert json.loads(bill.read_text())["problem_id"] == problems[0].id
            process.send_signal(number)
            assert process.wait() == 0
        finally:
            process.kill()


def test_a_child_that_answers_as_its_command_says(problem_file, problems):
    settings = {"model": "m", "seed": 4, "wrong_rate": 0.5, "malformed_rate": 0.3}
    with LoopbackProcess(problem_file, **settings) as teacher:
        url, command = teacher.url, teacher.command
        texts = [complete(url, p.question, model="m") for p in problems[:20]]
    with pytest.raises(urllib.error.URLError, match="refused"):
        complete(url, problems[0].question, model="m")
    writer = Writer(seed=4, wrong_rate=0.5, malformed_rate=0.3)
    assert texts == [writer.text(p, "cot") for p in problems[:20]]
    # The command that it tells a reader starts the same teacher, at the same place.
    assert command[0] == "python"
    with subprocess.Popen(
        [sys.executable, *command[1:]], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"listening on {url}\n"
            assert [complete(url, p.question, model="m") for p in problems[:20]] == texts
        finally:
            process.kill()


def complete(url, question, **fields):
    """Return the likeliest answer to a question."""
    body = {"prompt": question, "temperature": 0, "max_tokens": 400, **fields}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}/completions", data=json.dumps(body).encode(), headers=headers
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["text"].strip(" ")


PARENT = """
import sys, time
from t5distill.teacher.loopback import LoopbackProcess
with LoopbackProcess(sys.argv[1]) as teacher:
    print(teacher.url, flush=True)
    time.sleep(3600)
"""


def test_a_child_ends_with_a_parent_that_is_killed(problem_file, problems):
    # The child has its parent's standard error, so reading that ends when both have ended.
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PARENT, str(problem_file)]
    with subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert complete(url, problems[0].question, model="loopback")
        process.kill()
        assert process.communicate()[1] == ""
    with pytest.raises(urllib.error.URLError, match="refused"):
        complete(url, problems[0].question, model="loopback")


def test_a_child_that_cannot_start_is_told(tmp_path, capfd):
    with (
        pytest.raises(UserError, match="ended with code 2"),
        LoopbackProcess(tmp_path / "nowhere.jsonl"),
    ):
        raise AssertionError("there was nothing to serve")
    assert "nowhere.jsonl: no such file" in capfd.readouterr().err


def test_clients_that_vanish_leave_no_trace_but_the_bill(problem_file, problems, tmp_path):
    bill = tmp_path / "bill.jsonl"
    command = [*MODULE, "--problems", str(problem_file), "--bill", str(bill), "--latency", "0.02"]
    command += ["--faults", "reset=0.3,hang=0.3,truncated=0.3"]
    body = json.dumps({"model": "loopback", "prompt": problems[0].question}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2].removesuffix("/v1\n"))
            kept = []
            for i in range(120):
                raw = socket.create_connection(("127.0.0.1", port), timeout=20)
                raw.sendall(head.encode() + body)
                if i % 3 == 0:
                    # Closing with a linger time of 0 resets the connection.
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if i % 3 < 2:
                    raw.close()
                else:
                    kept.append(raw)
            # Of those that reset, the request may be lost; the other eighty arrive.
            while process.poll() is None and bill.read_text().count("\n") < 80:
                time.sleep(0.01)
            # Forty clients are still there, some of them waiting for a reply that never comes.
            process.terminate()
            assert process.communicate()[1] == ""
            assert process.returncode == 0
        finally:
            process.kill()
    for raw in kept:
        raw.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--problems", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["--faults", "rest=1"], "did you mean reset"),
        (["--wrong-rate", "2"], "wrong_rate is 2.0"),
    ],
)
def test_mistakes_are_told_without_a_traceback(problem_file, arguments, says):
    command = [*MODULE, "--problems", str(problem_file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_an_example():
    done = subprocess.run([*MODULE, "--help"], capture_output=True, text=True, check=True)
    assert "example:" in done.stdout
