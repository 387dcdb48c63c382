"""Every fault of the loopback teacher as a raw client sees it, and what the bill says of it."""

import contextlib
import http.client
import json
import math

import pytest

from t5distill.errors import UserError
from t5distill.teacher.loopback import Faults
from t5distill.teacher.loopback.faults import NAMES

CHAT = "/v1/chat/completions"


def seen(connect, teacher, problem, *, timeout_s=20.0):
    """Send one request over a new connection; return (what happened, status, headers, body)."""
    client = connect(teacher, timeout_s=timeout_s)
    fields = {"model": "loopback", "messages": [{"role": "user", "content": problem.question}]}
    with contextlib.closing(client.connection):
        try:
            response = client.send("POST", CHAT, fields)
        except ConnectionResetError:
            return "reset early", None, {}, b""
        except TimeoutError:
            return "hang", None, {}, b""
        headers = dict(response.headers)
        try:
            body = response.read()
        except http.client.IncompleteRead as e:
            return "ended early", response.status, headers, e.partial
        except ConnectionResetError:
            return "reset late", response.status, headers, b""
    return "whole", response.status, headers, body


def outcomes(serve, connect, problems, count=30, timeout_s=20.0, **settings):
    teacher = serve(**settings)
    rows = [seen(connect, teacher, p, timeout_s=timeout_s) for p in problems[:count]]
    assert teacher.bill.totals()["requests"] == count
    return teacher, rows


def test_too_many_requests_with_and_without_retry_after(serve, connect, problems):
    faults = Faults(too_many_requests=1.0, retry_after_s=0.5)
    teacher, rows = outcomes(serve, connect, problems, faults=faults)
    assert {(what, status) for what, status, _, _ in rows} == {("whole", 429)}
    assert {headers.get("retry-after") for _, _, headers, _ in rows} == {"0.5", None}
    assert {json.loads(body)["error"]["code"] for *_, body in rows} == {"rate_limit_exceeded"}
    assert teacher.bill.totals()["billed"] == 0


def test_server_errors(serve, connect, problems):
    teacher, rows = outcomes(serve, connect, problems, faults=Faults(server_error=1.0))
    assert {status for _, status, _, _ in rows} == {500, 502, 503}
    for _, status, headers, body in rows:
        assert (headers["content-type"] == "text/html") == (status == 502)
        assert status == 502 or json.loads(body)["error"]["type"] == "server_error"
    assert teacher.bill.totals()["billed"] == 0


def test_resets_before_and_within_the_reply(serve, connect, problems):
    teacher, rows = outcomes(serve, connect, problems, faults=Faults(reset=1.0))
    kinds = [what for what, *_ in rows]
    assert set(kinds) == {"reset early", "reset late"}
    # Only what was generated costs: the replies that broke in their middle.
    assert [e.billed for e in teacher.bill.entries] == [k == "reset late" for k in kinds]
    assert teacher.bill.totals()["completion_tokens"] > 0


def test_hangs_last_until_the_client_gives_up(serve, connect, problems):
    settings = {"count": 2, "timeout_s": 0.3}
    teacher, rows = outcomes(serve, connect, problems, faults=Faults(hang=1.0), **settings)
    assert [what for what, *_ in rows] == ["hang", "hang"]
    assert teacher.bill.totals()["statuses"] == {"None": 2}
    assert teacher.bill.totals()["billed"] == 0


def test_truncated_bodies_of_both_kinds(serve, connect, problems):
    teacher, rows = outcomes(serve, connect, problems, faults=Faults(truncated=1.0))
    assert {what for what, *_ in rows} == {"whole", "ended early"}
    for *_, body in rows:
        assert body[:1] == b"{"
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
    assert teacher.bill.totals()["billed"] == len(rows)


def test_bad_bytes_within_the_text(serve, connect, problems):
    teacher, rows = outcomes(serve, connect, problems, faults=Faults(bad_utf8=1.0))
    for what, status, _, body in rows:
        assert (what, status) == ("whole", 200)
        with pytest.raises(UnicodeDecodeError):
            body.decode()
        # All else is sound, so that a client which replaces the bytes believes the reply.
        assert json.loads(body.decode(errors="replace"))["usage"]["completion_tokens"] > 0
    assert teacher.bill.totals()["billed"] == len(rows)


def test_completions_have_bad_bytes_too(serve, connect, problems):
    client = connect(serve(faults=Faults(bad_utf8=1.0)))
    fields = {"model": "loopback", "prompt": problems[0].question}
    body = client.send("POST", "/v1/completions", fields).read()
    assert json.loads(body.decode(errors="replace"))["choices"][0]["text"].startswith("\ufffd")


def test_a_connection_goes_on_after_faults_that_leave_it_whole(serve, connect, problems):
    faults = Faults(too_many_requests=0.5, server_error=0.5)
    client = connect(serve(faults=faults))
    fields = {"model": "loopback", "messages": [{"role": "user", "content": "Q: x"}]}
    statuses = set()
    for _ in range(30):
        response = client.send("POST", CHAT, fields)
        response.read()
        statuses.add(response.status)
    assert statuses == {429, 500, 502, 503}


def test_rates_hold_and_the_bill_equals_what_the_client_saw(serve, connect, problems):
    rates = {"too_many_requests": 0.15, "server_error": 0.1, "truncated": 0.1, "bad_utf8": 0.1}
    teacher, rows = outcomes(serve, connect, problems, 300, seed=8, faults=Faults(**rates))
    counted = teacher.bill.totals()["faults"]
    for name, rate in rates.items():
        assert abs(counted[name] - 300 * rate) < 4 * math.sqrt(300 * rate * (1 - rate)), name
    assert sum(counted.values()) + sum(_usable(body) for *_, body in rows) == 300
    statuses = [status for _, status, _, _ in rows]
    assert [e.status for e in teacher.bill.entries] == statuses
    delivered = [json.loads(body)["usage"] for *_, body in rows if _usable(body)]
    sound = [e for e in teacher.bill.entries if e.fault is None]
    for key in ("prompt_tokens", "completion_tokens"):
        assert [getattr(e, key) for e in sound] == [usage[key] for usage in delivered]
    lost = sum(counted[name] for name in ("truncated", "bad_utf8"))
    assert teacher.bill.totals()["billed"] == len(delivered) + lost


def _usable(body):
    try:
        return "usage" in json.loads(body.decode())
    except ValueError:
        return False


def test_faults_are_seeded_by_attempt(serve, connect, problems):
    faults = Faults(too_many_requests=0.5)

    def statuses(seed):
        _, rows = outcomes(serve, connect, [problems[0]] * 40, 40, seed=seed, faults=faults)
        return [status for _, status, _, _ in rows]

    assert statuses(1) == statuses(1) != statuses(2)
    # One request, sent again and again, gets through in the end.
    assert set(statuses(1)) == {200, 429}


def test_faults_from_the_command_line():
    assert Faults.parse("") == Faults()
    assert Faults.parse("reset=0.1, hang=0.2") == Faults(reset=0.1, hang=0.2)
    for text, says in (
        ("rest=0.1", "did you mean reset"),
        ("reset=much", "wanted a number"),
        ("reset", "wanted a number"),
        ("reset=2", r"wanted a share in \[0, 1\]"),
        ("reset=0.7,hang=0.7", "sum to 1.4"),
    ):
        with pytest.raises(UserError, match=says):
            Faults.parse(text)
    assert set(NAMES) < set(vars(Faults()))
