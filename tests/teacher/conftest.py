"""A loopback teacher and a raw client for it."""

import contextlib
import http.client
import json

import pytest

from t5distill.problems import embedded
from t5distill.records import write_jsonl
from t5distill.teacher.loopback import LoopbackTeacher


@pytest.fixture(scope="session")
def problems():
    return [
        *embedded.generate(count=300, seed=3, split="train"),
        *embedded.generate(count=60, seed=3, split="test", templates="held_out"),
    ]


@pytest.fixture(scope="session")
def write_problems(tmp_path_factory):
    """Make problems; return the file that they are in, and them."""

    def write(**settings):
        made = embedded.generate(split="train", **settings)
        path = tmp_path_factory.mktemp("problems") / "train.jsonl"
        write_jsonl(path, made)
        return path, made

    return write


@pytest.fixture
def serve(problems):
    """Start teachers of the problems that stop with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(LoopbackTeacher(problems, **settings))


class Client:
    """Sends one request at a time over one connection, with the standard library alone."""

    def __init__(self, teacher, *, timeout_s=20.0):
        self.connection = http.client.HTTPConnection("127.0.0.1", teacher.port, timeout=timeout_s)

    def send(self, method, path, fields=None, headers=()):
        body = fields if fields is None or isinstance(fields, bytes) else json.dumps(fields)
        self.connection.request(method, path, body=body, headers=dict(headers))
        return self.connection.getresponse()

    def json(self, method, path, fields=None, headers=()):
        """Return status and decoded body."""
        response = self.send(method, path, fields, headers)
        return response.status, json.loads(response.read())

    def chat(self, text, **fields):
        """Return the body of a reply to one user message."""
        messages = [{"role": "user", "content": text}]
        fields = {"model": "loopback", "messages": messages, **fields}
        status, body = self.json("POST", "/v1/chat/completions", fields)
        assert status == 200, body
        return body


@pytest.fixture
def connect():
    """Open clients that close with the test."""
    with contextlib.ExitStack() as stack:

        def make(teacher, **settings):
            client = Client(teacher, **settings)
            stack.callback(client.connection.close)
            return client

        yield make
