"""The loopback teacher over real sockets: endpoints, errors, determinism, the bill."""

import json
import math
import socket
import threading
import time

import openai
import pytest

from t5distill.errors import UserError
from t5distill.teacher.loopback import LoopbackTeacher
from t5distill.verify import judge

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
COT = "\nA: Let's think step by step."


def correct(text, problem):
    return judge(text, problem.answer, problem.kind).outcome == "correct"


def test_models(serve, connect):
    client = connect(serve(model="small"))
    status, body = client.json("GET", "/v1/models")
    assert (status, [m["id"] for m in body["data"]]) == (200, ["small"])
    status, body = client.json("GET", "/v1/models/small")
    assert (status, body["object"]) == (200, "model")


def test_chat_answers_and_counts(serve, connect, problems):
    teacher = serve()
    client = connect(teacher)
    for problem in problems[:40]:
        body = client.chat(f"Q: {problem.question}{COT}", temperature=0)
        [choice] = body["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["logprobs"] is None
        assert correct(choice["message"]["content"], problem)
        usage = body["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert teacher.bill.totals()["requests"] == 40


def test_the_last_question_of_a_few_shot_chat_is_answered(serve, connect, problems):
    client = connect(serve())
    first, second = problems[:2]
    messages = [
        {"role": "system", "content": "Solve the problems."},
        {"role": "user", "content": first.question},
        {"role": "assistant", "content": first.solution},
        {"role": "user", "content": [{"type": "text", "text": second.question}]},
    ]
    fields = {"model": "loopback", "messages": messages}
    status, body = client.json("POST", CHAT, fields)
    assert status == 200
    text = body["choices"][0]["message"]["content"]
    assert correct(text, second)


def test_completions_take_several_prompts_and_go_on_after_the_colon(serve, connect, problems):
    client = connect(serve())
    prompts = [f"Q: {p.question}\nA:" for p in problems[:3]]
    fields = {"model": "loopback", "prompt": prompts, "n": 2, "max_tokens": 200}
    status, body = client.json("POST", COMPLETIONS, fields)
    assert status == 200
    assert [c["index"] for c in body["choices"]] == list(range(6))
    for choice in body["choices"]:
        assert choice["text"].startswith(" ")
        assert correct(choice["text"], problems[choice["index"] // 2])


def test_completions_end_after_sixteen_tokens_unless_told(serve, connect, problems):
    client = connect(serve())
    fields = {"model": "loopback", "prompt": f"Q: {problems[0].question}\nA:"}
    _, body = client.json("POST", COMPLETIONS, fields)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 16


def test_limits_and_stop_sequences(serve, connect, problems):
    teacher = serve()
    client = connect(teacher)
    question = f"Q: {problems[0].question}{COT}"
    whole = client.chat(question, temperature=0)["choices"][0]["message"]["content"]
    for limit in ("max_tokens", "max_completion_tokens"):
        body = client.chat(question, temperature=0, **{limit: 5})
        choice = body["choices"][0]
        assert choice["finish_reason"] == "length"
        assert body["usage"]["completion_tokens"] == 5
        assert whole.startswith(choice["message"]["content"])
    for stop in ("The answer", ["nowhere", "The answer"]):
        choice = client.chat(question, temperature=0, stop=stop)["choices"][0]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == whole.partition("The answer")[0]


def test_a_stop_sequence_ends_a_run_on(serve, connect, problems):
    client = connect(serve(malformed_rate=1.0))
    texts = [
        client.chat(f"Q: {p.question}{COT}", stop=["\n\nQ:"])["choices"][0]["message"]["content"]
        for p in problems[:40]
    ]
    assert not [t for t in texts if "Q:" in t]


def test_equal_requests_to_equal_servers_get_equal_texts(serve, connect, problems):
    settings = {"seed": 4, "wrong_rate": 0.3, "malformed_rate": 0.2}
    one, two = connect(serve(**settings)), connect(serve(**settings))
    other = connect(serve(**settings | {"seed": 5}))

    def texts(client, **fields):
        bodies = [client.chat(f"Q: {p.question}{COT}", **fields) for p in problems[:30]]
        return [[c["message"]["content"] for c in body["choices"]] for body in bodies]

    sampled = texts(one, n=3, seed=9)
    assert sampled == texts(two, n=3, seed=9) == texts(one, n=3, seed=9)
    assert sampled != texts(one, n=3, seed=10)
    assert sampled != texts(other, n=3, seed=9)
    assert any(len(set(row)) > 1 for row in sampled)
    greedy = texts(one, n=2, temperature=0)
    assert greedy == texts(two, n=2, temperature=0, seed=77)
    assert all(len(set(row)) == 1 for row in greedy)


def test_chat_logprobs(serve, connect, problems):
    client = connect(serve())
    question = f"Q: {problems[0].question}{COT}"
    body = client.chat(question, seed=1, logprobs=True, top_logprobs=5)
    [choice] = body["choices"]
    rows = choice["logprobs"]["content"]
    assert "".join(row["token"] for row in rows) == choice["message"]["content"]
    assert len(rows) == body["usage"]["completion_tokens"]
    for row in rows:
        assert bytes(row["bytes"]).decode() == row["token"]
        assert row["token"] in [t["token"] for t in row["top_logprobs"]]
        assert len(row["top_logprobs"]) == 5
        assert sum(math.exp(t["logprob"]) for t in row["top_logprobs"]) <= 1.0
    assert (
        body["choices"] == client.chat(question, seed=1, logprobs=True, top_logprobs=5)["choices"]
    )
    bare = client.chat(question, seed=1, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert [row["top_logprobs"] for row in bare] == [[]] * len(rows)


def test_completion_logprobs(serve, connect, problems):
    fields = {"model": "loopback", "prompt": problems[0].question, "logprobs": 3, "max_tokens": 99}
    _, body = connect(serve()).json("POST", COMPLETIONS, fields)
    [choice] = body["choices"]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    for token, logprob, top, at in zip(*found.values(), strict=True):
        assert choice["text"][at:].startswith(token)
        assert top[token] == logprob
        assert len(top) == 3
        assert sum(map(math.exp, top.values())) <= 1.0


def test_an_unknown_question_gets_no_number(serve, connect):
    text = connect(serve()).chat("Q: How many roads?\nA:")["choices"][0]["message"]["content"]
    assert not [c for c in text if c.isdigit()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "no text"),
        ({"stream": True}, "stream"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"seed": "a"}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_ill_formed_requests_are_refused(serve, connect, change, says):
    teacher = serve()
    fields = {"model": "loopback", "messages": [{"role": "user", "content": "Q: x"}], **change}
    status, body = connect(teacher).json("POST", CHAT, fields)
    assert status == 400
    assert says in body["error"]["message"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert teacher.bill.totals()["completion_tokens"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a": "\xff"}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(serve, connect, body):
    client = connect(serve())
    assert client.json("POST", CHAT, body)[0] == 400
    assert client.json("GET", "/v1/models")[0] == 200, "the connection goes on"


@pytest.mark.parametrize("prompt", [None, [], [[1, 2]], 5])
def test_prompts_that_are_no_text_are_refused(serve, connect, prompt):
    fields = {"model": "loopback", "prompt": prompt}
    status, body = connect(serve()).json("POST", COMPLETIONS, fields)
    assert (status, body["error"]["param"]) == (400, "prompt")


def test_unknown_paths_methods_and_models(serve, connect):
    client = connect(serve())
    assert client.json("GET", "/v2/models")[0] == 404
    assert client.json("GET", CHAT)[0] == 405
    assert client.json("POST", "/v1/models", {})[0] == 405
    response = client.send("HEAD", CHAT)
    assert (response.status, response.read()) == (405, b"")
    for path in (CHAT, COMPLETIONS):
        status, body = client.json("POST", path, {"model": "huge"})
        assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert client.json("GET", "/v1/models/huge")[0] == 404


def test_the_key_is_required_everywhere(serve, connect):
    client = connect(serve(api_key="k"))
    for headers in ({}, {"Authorization": "Bearer other"}):
        assert client.json("POST", CHAT, {}, headers)[0] == 401
        status, body = client.json("GET", "/v1/models", headers=headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert client.json("GET", "/v1/models", headers={"Authorization": "Bearer k"})[0] == 200


def test_bytes_that_are_no_http_are_refused(serve):
    teacher = serve()
    with socket.create_connection(("127.0.0.1", teacher.port), timeout=20) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400")


def test_a_client_that_goes_in_the_middle_of_a_request_is_not_on_the_bill(serve, connect):
    teacher = serve()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    for sent in (b"", b"POST /v1/com", head, head + b"{"):
        with socket.create_connection(("127.0.0.1", teacher.port), timeout=20) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(1) == b""
    connect(teacher).json("GET", "/v1/models")
    assert [e.path for e in teacher.bill.entries] == ["/v1/models"]


def test_expect_continue_is_answered(serve, problems):
    body = json.dumps({"model": "loopback", "prompt": problems[0].question}).encode()
    head = (
        f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", serve().port), timeout=20) as raw:
        raw.sendall(head.encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")
        raw.sendall(body)
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 200")


def test_the_minute_limit(serve, connect, problems):
    teacher = serve(requests_per_minute=3)
    client = connect(teacher)
    for problem in problems[:3]:
        client.chat(problem.question)
    fields = {"model": "loopback", "messages": [{"role": "user", "content": "Q: x"}]}
    response = client.send("POST", CHAT, fields)
    assert response.status == 429
    assert 50 < int(response.headers["Retry-After"]) <= 60
    assert json.loads(response.read())["error"]["code"] == "rate_limit_exceeded"
    totals = teacher.bill.totals()
    assert (totals["requests"], totals["billed"], totals["faults"]) == (4, 3, {})


def test_latency_is_waited_by_each_and_not_in_turn(serve, connect, problems):
    teacher = serve(latency_s=1.0)
    clients = [connect(teacher) for _ in range(10)]
    threads = [threading.Thread(target=c.chat, args=(problems[0].question,)) for c in clients]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1.0 <= time.monotonic() - begin < 10.0
    assert teacher.bill.totals()["billed"] == 10


def test_the_bill_says_what_the_client_saw(serve, connect, problems, tmp_path):
    path = tmp_path / "new" / "bill.jsonl"
    teacher = serve(bill_file=path, bill_fsync=True)
    client = connect(teacher)
    bodies = [client.chat(f"Q: {p.question}\nOnly the answer.", n=2) for p in problems[:20]]
    fields = {"model": "loopback", "prompt": "Q: x"}
    headers = {"X-Request-Id": "mine", "Idempotency-Key": "once"}
    bodies.append(client.json("POST", COMPLETIONS, fields, headers)[1])
    client.json("GET", "/v1/nowhere")
    totals = teacher.bill.totals()
    for key in ("prompt_tokens", "completion_tokens"):
        assert totals[key] == sum(body["usage"][key] for body in bodies)
    assert totals["choices"] == 41
    assert totals["statuses"] == {"200": 21, "404": 1}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [vars(entry) for entry in teacher.bill.entries]
    assert [line["number"] for line in lines] == list(range(1, 23))
    assert [line["problem_id"] for line in lines[:20]] == [p.id for p in problems[:20]]
    assert {line["style"] for line in lines[:20]} == {"answer"}
    assert (lines[20]["client_request_id"], lines[20]["idempotency_key"]) == ("mine", "once")
    assert lines[21]["billed"] is False


def test_the_openai_client_reads_every_endpoint(serve, problems):
    teacher = serve(api_key="k")
    with openai.OpenAI(base_url=teacher.url, api_key="k", max_retries=0) as client:
        assert [m.id for m in client.models.list()] == ["loopback"]
        question = f"Q: {problems[0].question}{COT}"
        chat = client.chat.completions.create(
            model="loopback",
            messages=[{"role": "user", "content": question}],
            n=2,
            logprobs=True,
            top_logprobs=2,
        )
        assert correct(chat.choices[1].message.content or "", problems[0])
        assert chat.usage is not None
        assert chat.usage.completion_tokens == teacher.bill.totals()["completion_tokens"]
        text = client.completions.create(model="loopback", prompt=question, max_tokens=99)
        assert correct(text.choices[0].text, problems[0])
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.completions.create(model="other", prompt=question)
        with pytest.raises(openai.BadRequestError, match="stream"):
            client.completions.create(model="loopback", prompt=question, stream=True)
    wrong = openai.OpenAI(base_url=teacher.url, api_key="x", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_taken_port_is_told(serve, problems):
    port = serve().port
    with (
        pytest.raises(UserError, match=f"cannot listen on port {port}"),
        LoopbackTeacher(problems, port=port),
    ):
        pass


def test_leaving_the_block_closes_idle_connections_and_the_port(problems, connect):
    with LoopbackTeacher(problems) as teacher:
        client = connect(teacher)
        client.chat(problems[0].question)
    assert client.connection.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", teacher.port), timeout=20)
