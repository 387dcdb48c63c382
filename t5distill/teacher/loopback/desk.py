"""The desk of the loopback teacher: which request gets which reply, and what it costs."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import math
import random
import time
from collections.abc import Sequence
from typing import Any

from t5distill.teacher.loopback import batches, protocol
from t5distill.teacher.loopback import faults as injected
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.batches import Batches
from t5distill.teacher.loopback.bill import Bill, Entry
from t5distill.teacher.loopback.faults import Faults
from t5distill.teacher.loopback.generation import generate
from t5distill.teacher.loopback.probabilities import Probabilities
from t5distill.teacher.loopback.protocol import ApiError
from t5distill.teacher.loopback.questions import Questions
from t5distill.teacher.loopback.wire import Call, Reply

_MODELS = "/v1/models"
_GENERATE = (protocol.CHAT, protocol.COMPLETIONS)
_EITHER = (batches.FILES, batches.BATCHES)
_KNOWN = (_MODELS, *_GENERATE, *_EITHER)
_MINUTE_S = 60.0
_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


class Desk:
    """Answers calls, in the order of their arrival, from one thread."""

    def __init__(
        self,
        questions: Questions,
        writer: Writer,
        *,
        faults: Faults,
        requests_per_minute: int | None,
        api_key: str | None,
        model: str,
        batch_polls: int,
        batch_outcomes: Sequence[str],
        bill: Bill,
    ):
        """See `LoopbackTeacher`; faults and batches are seeded with the writer's seed.

        The bill gets the lines of batches from here; a reply brings its own entry.
        """
        self._bill = bill
        self._batches = Batches(
            self._line, seed=writer.seed, polls=batch_polls, outcomes=batch_outcomes
        )
        self._questions = questions
        self._seed = writer.seed
        self._probabilities = Probabilities(writer)
        self._faults = faults
        self._limit = requests_per_minute
        self._key = api_key
        self._model = model
        self._numbers = itertools.count(1)
        self._attempts = itertools.count(1)
        self._recent: collections.deque[float] = collections.deque()

    def reply(self, call: Call) -> Reply:
        """Return the reply to a call, with its entry for the bill."""
        entry = dataclasses.replace(
            self._entry(call.path),
            method=call.method,
            client_request_id=call.headers.get("x-request-id"),
            idempotency_key=call.headers.get("idempotency-key"),
        )
        try:
            self._admit(call)
            if call.path.startswith(_MODELS):
                return self._described(call, entry)
            if call.path in _GENERATE:
                self._count_in_minute()
            # Each attempt has its own draw, so that the same request sent again can go through.
            rng = self._attempt()
            fault = self._faults.draw(rng)
            early = fault == "reset" and rng.random() < 0.5
            if early or fault in ("too_many_requests", "server_error", "hang"):
                return self._not_done(str(fault), entry, rng)
            if call.path in _GENERATE:
                fields = protocol.read_object(call.body)
                body, entry = self._generated(call.path, fields, entry)
            else:
                body, entry = self._batches.handle(call), dataclasses.replace(entry, status=200)
            entry = dataclasses.replace(entry, fault=fault)
            return _spoilt(Reply(status=200, body=body, entry=entry), rng)
        except ApiError as e:
            return dataclasses.replace(_refused(e, entry), bodiless=call.method == "HEAD")

    def no_http(self, error: Exception) -> Reply:
        """Return the reply to bytes that are no HTTP."""
        return _refused(ApiError(400, f"The request is no HTTP/1.1: {error}"), self._entry("?"))

    def _entry(self, path: str) -> Entry:
        return Entry(number=next(self._numbers), time=time.time(), path=path, status=None)

    def _attempt(self) -> random.Random:
        return random.Random(f"{self._seed} attempt {next(self._attempts)}")

    def _admit(self, call: Call) -> None:
        """Check path, method and key; raise ApiError."""
        if not call.path.startswith(_KNOWN):
            raise ApiError(404, f"Invalid URL ({call.method} {call.path})", code="unknown_url")
        wanted = "POST" if call.path in _GENERATE else "GET"
        if call.method != wanted and not call.path.startswith(_EITHER):
            raise ApiError(405, f"Not allowed to {call.method} on {call.path}.")
        if self._key is not None and call.headers.get("authorization") != f"Bearer {self._key}":
            raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")

    def _described(self, call: Call, entry: Entry) -> Reply:
        """Answer GET /v1/models and GET /v1/models/NAME."""
        name = call.path.removeprefix(_MODELS).lstrip("/")
        if name not in ("", self._model):
            raise protocol.unknown_model(name)
        model = protocol.model_object(self._model)
        listed = model if name else {"object": "list", "data": [model]}
        entry = dataclasses.replace(entry, status=200)
        return Reply(status=200, body=protocol.dumps(listed), entry=entry)

    def _generated(self, path: str, fields: dict[str, Any], entry: Entry) -> tuple[bytes, Entry]:
        """Return the body for a request for text, and the entry that charges for it."""
        request = protocol.read_request(fields, chat=path == protocol.CHAT, model=self._model)
        made = generate(request, self._questions, self._probabilities)
        entry = dataclasses.replace(
            entry,
            status=200,
            problem_id=made.problem_id,
            style=made.style,
            prompt_tokens=made.prompt_tokens,
            completion_tokens=made.completion_tokens,
            choices=len(made.choices),
            billed=True,
        )
        usage = (made.prompt_tokens, made.completion_tokens)
        body = protocol.reply(
            request, made.choices, number=entry.number, model=self._model, usage=usage
        )
        return body, entry

    def _line(self, batch_id: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one line of a batch and put it on the bill; return status and body."""
        entry = dataclasses.replace(self._entry(path), batch_id=batch_id)
        try:
            if self._attempt().random() < self._faults.server_error:
                entry = dataclasses.replace(entry, fault="server_error")
                raise ApiError(500, "The server had an error.", kind="server_error")
            body, entry = self._generated(path, fields, entry)
        except ApiError as e:
            body, entry = e.body(), dataclasses.replace(entry, status=e.status)
        self._bill.append(entry)
        return entry.status or 500, json.loads(body)

    def _count_in_minute(self) -> None:
        """Raise ApiError 429 where the requests of the last minute are too many."""
        if self._limit is None:
            return
        now = time.monotonic()
        while self._recent and now - self._recent[0] >= _MINUTE_S:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            wait_s = math.ceil(_MINUTE_S - (now - self._recent[0]))
            raise _too_many(f"Limit {self._limit} requests per minute.", wait_s)
        self._recent.append(now)

    def _not_done(self, fault: str, entry: Entry, rng: random.Random) -> Reply:
        """Return a fault that costs nothing, because nothing was done."""
        entry = dataclasses.replace(entry, fault=fault)
        if fault in ("reset", "hang"):
            return Reply(status=0, body=b"", entry=entry, ending=fault)
        if fault == "too_many_requests":
            wait_s = self._faults.retry_after_s if rng.random() < 0.5 else None
            return _refused(_too_many("Rate limit reached.", wait_s), entry)
        status = rng.choice((500, 502, 503))
        if status == 502:
            entry = dataclasses.replace(entry, status=status)
            return Reply(status=status, body=_GATEWAY, entry=entry, content_type="text/html")
        message = "The server had an error." if status == 500 else "The engine is overloaded."
        return _refused(ApiError(status, message, kind="server_error"), entry)


def _spoilt(reply: Reply, rng: random.Random) -> Reply:
    """Return a generated reply as its fault leaves it; the bill stays as it is."""
    fault = reply.entry.fault
    if fault == "bad_utf8":
        return dataclasses.replace(reply, body=injected.with_bad_bytes(reply.body))
    if fault not in ("reset", "truncated"):
        return reply
    spoilt = dataclasses.replace(reply, body=injected.cut(reply.body, rng))
    if fault == "truncated" and rng.random() < 0.5:
        return spoilt
    ending = "close" if fault == "truncated" else "reset"
    return dataclasses.replace(spoilt, length=len(reply.body), ending=ending)


def _refused(error: ApiError, entry: Entry) -> Reply:
    entry = dataclasses.replace(entry, status=error.status)
    return Reply(status=error.status, body=error.body(), headers=error.headers, entry=entry)


def _too_many(message: str, wait_s: float | None) -> ApiError:
    headers = () if wait_s is None else (("retry-after", f"{wait_s:g}"),)
    return ApiError(429, message, kind="requests", code="rate_limit_exceeded", headers=headers)
