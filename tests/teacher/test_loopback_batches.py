"""The loopback teacher's Batch API, through OpenAI's client and raw where that is needed."""

import json

import openai
import pytest

from t5distill.teacher.loopback import Faults
from t5distill.verify import judge

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def line(problem, **change):
    body = {"model": "loopback", "messages": [{"role": "user", "content": problem.question}]}
    return {"custom_id": problem.id, "method": "POST", "url": CHAT, "body": body, **change}


def content(lines):
    return "".join(json.dumps(row) + "\n" for row in lines).encode()


@pytest.fixture
def client_of():
    clients = []

    def make(teacher):
        clients.append(openai.OpenAI(base_url=teacher.url, api_key="none", max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def submit(client, lines, endpoint=CHAT):
    data = lines if isinstance(lines, bytes) else content(lines)
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    assert file.bytes == len(data)
    assert client.files.content(file.id).read() == data
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"run": "1"}
    )


def rows(client, file_id):
    return [json.loads(row) for row in client.files.content(file_id).read().splitlines()]


def test_a_batch_is_worked_off_while_it_is_polled(serve, client_of, problems):
    teacher = serve(batch_polls=3)
    client = client_of(teacher)
    batch = submit(client, [line(p) for p in problems[:30]])
    assert (batch.status, batch.metadata) == ("validating", {"run": "1"})
    seen = []
    while batch.status != "completed":
        batch = client.batches.retrieve(batch.id)
        seen.append((batch.status, batch.request_counts.completed))
    assert seen == [("in_progress", 10), ("in_progress", 20), ("completed", 30)]
    assert batch.error_file_id is None
    found = rows(client, batch.output_file_id)
    ids = [row["custom_id"] for row in found]
    assert ids != [p.id for p in problems[:30]], "in order"
    assert sorted(ids) == sorted(p.id for p in problems[:30])
    known = {p.id: p for p in problems}
    for row in found:
        assert row["response"]["status_code"] == 200
        problem = known[row["custom_id"]]
        text = row["response"]["body"]["choices"][0]["message"]["content"]
        assert judge(text, problem.answer, problem.kind).outcome == "correct"
    usage = [row["response"]["body"]["usage"] for row in found]
    totals = teacher.bill.totals()
    assert totals["billed"] == 30
    for key in ("prompt_tokens", "completion_tokens"):
        assert totals[key] == sum(u[key] for u in usage)
    assert {e.batch_id for e in teacher.bill.entries if e.billed} == {batch.id}
    # Asking again costs nothing.
    client.batches.retrieve(batch.id)
    assert teacher.bill.totals()["completion_tokens"] == totals["completion_tokens"]


def test_lines_that_fail_are_in_the_error_file(serve, client_of, problems):
    client = client_of(serve(batch_polls=1))
    bad = line(problems[1], body={"model": "loopback"})
    batch = client.batches.retrieve(submit(client, [line(problems[0]), bad]).id)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    [row] = rows(client, batch.error_file_id)
    assert row["custom_id"] == problems[1].id
    assert row["response"]["status_code"] == 400
    assert row["response"]["body"]["error"]["param"] == "messages"


def test_lines_meet_server_errors(serve, connect, problems):
    teacher = serve(batch_polls=1, faults=Faults(server_error=0.5))
    client = connect(teacher)

    def until_done(*request):
        while True:
            response = client.send(*request)
            body = response.read()
            if response.status == 200:
                return json.loads(body)

    form = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + content(line(p) for p in problems[:40])
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    file = until_done("POST", "/v1/files", form, kind)
    fields = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    batch = until_done("POST", "/v1/batches", fields)
    batch = until_done("GET", f"/v1/batches/{batch['id']}")
    counts = batch["request_counts"]
    assert counts["completed"] + counts["failed"] == counts["total"] == 40
    assert 5 < counts["failed"] < 35
    assert teacher.bill.totals()["billed"] == counts["completed"]


def test_batches_are_listed_with_their_metadata_newest_first(serve, client_of, connect, problems):
    teacher = serve(batch_outcomes=["expired", "full"])
    client = client_of(teacher)
    made = [submit(client, [line(problems[i]), line(problems[9])]) for i in range(5)]
    first = client.batches.list(limit=2)
    assert [b.id for b in first.data] == [made[4].id, made[3].id] and first.has_next_page()
    assert [b.id for b in client.batches.list(limit=2)] == [b.id for b in reversed(made)]
    assert all(b.metadata == {"run": "1"} for b in client.batches.list())
    expired = client.batches.retrieve(made[0].id)
    assert expired.status == "expired" and expired.request_counts.failed == 1
    [row] = rows(client, expired.error_file_id)
    assert row["response"] is None and row["error"]["code"] == "batch_expired"
    assert len(rows(client, expired.output_file_id)) == 1
    full = client.batches.retrieve(made[1].id)
    assert full.status == "failed" and full.errors.data[0].code == "token_limit_exceeded"
    assert connect(teacher).json("GET", "/v1/batches?limit=0")[0] == 400
    assert connect(teacher).json("GET", "/v1/batches?after=batch_9")[0] == 404


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"{\n", "invalid_json_line"),
        (b'{"url": "x"}\n', "missing_required_parameter"),
        (b'{"custom_id": "a", "method": "POST", "url": "/v1/x"}', "mismatched_endpoint"),
        (
            2 * b'{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {}}\n',
            "duplicate_custom_id",
        ),
    ],
)
def test_an_ill_formed_file_fails_the_whole_batch(serve, client_of, data, code):
    teacher = serve()
    client = client_of(teacher)
    batch = client.batches.retrieve(submit(client, data, COMPLETIONS).id)
    assert batch.status == "failed"
    assert [e.code for e in batch.errors.data] == [code]
    assert batch.output_file_id is None
    assert teacher.bill.totals()["billed"] == 0


def test_a_cancelled_batch_keeps_what_is_answered(serve, client_of, problems):
    teacher = serve(batch_polls=4)
    client = client_of(teacher)
    batch = submit(client, [line(p) for p in problems[:20]])
    client.batches.retrieve(batch.id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "cancelled"
    assert len(rows(client, batch.output_file_id)) == 5
    assert teacher.bill.totals()["billed"] == 5
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_a_created_batch_whose_reply_is_lost_is_there(serve, connect, problems):
    client = connect(serve(faults=Faults(bad_utf8=1.0)))
    form = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + content([line(problems[0])])
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(UnicodeDecodeError):
        client.send("POST", "/v1/files", form, kind).read().decode()
    assert client.send("GET", "/v1/files/file-1/content").status == 200


def test_what_there_is_not_is_refused(serve, client_of, connect):
    teacher = serve()
    client = client_of(teacher)
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_9")
    with pytest.raises(openai.NotFoundError):
        client.files.content("file-9")
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-9", endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        client.batches.create(
            input_file_id="file-9", endpoint="/v1/embeddings", completion_window="24h"
        )
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("a", b""), purpose="assistants")
    assert connect(teacher).json("POST", "/v1/files", {})[0] == 400
    assert connect(teacher).json("GET", "/v1/filesystem")[0] == 404
