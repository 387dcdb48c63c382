"""OpenAI's Batch API: files of requests that are worked off while a client polls."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from t5distill.errors import UserError, suggest
from t5distill.teacher.loopback import protocol
from t5distill.teacher.loopback.protocol import ApiError
from t5distill.teacher.loopback.wire import Call

FILES, BATCHES = "/v1/files", "/v1/batches"

# Answers one line: (batch id, url, fields of the body) to (status, body).
Answer = Callable[[str, str, dict[str, Any]], tuple[int, dict[str, Any]]]

# How a batch can end: all lines answered; half of them when its time was up; none, because the
# queue had no room for it.
OUTCOMES = ("completed", "expired", "full")

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_FIELD = re.compile(rb'name="([^"]*)"(?:.*filename="([^"]*)")?', re.DOTALL)
_DAY_S = 24 * 3600


@dataclasses.dataclass
class _Batch:
    """A batch on its way.

    Attributes:
      fields: the object that clients see.
      todo: lines still to be answered, in the order in which that happens.
      outcome: how it will end, one of `OUTCOMES`.
      polls: how often its state was asked for.
      output: finished lines of status 200.
      errors: finished lines of another status.
    """

    fields: dict[str, Any]
    todo: list[dict[str, Any]]
    outcome: str = "completed"
    polls: int = 0
    output: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    errors: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Batches:
    """The files and batches of one server.

    A batch goes from `validating` over `in_progress` to `completed` as it is polled: every poll
    answers an equal part of its lines, in shuffled order. Cancelled, it keeps what is answered.
    """

    def __init__(self, answer: Answer, *, seed: int, polls: int, outcomes: Sequence[str] = ()):
        """Begin without files.

        Args:
          answer: answers one line.
          seed: of the order of the lines.
          polls: how many GETs a batch takes to complete, at least 1.
          outcomes: how the first batches end, see `OUTCOMES`; those after them are completed.

        Raises:
          UserError: there is no such end.
        """
        for outcome in outcomes:
            if outcome not in OUTCOMES:
                raise UserError(f"batch outcome {outcome!r}; {suggest(outcome, OUTCOMES)}")
        self._outcomes = tuple(outcomes)
        self._answer = answer
        self._seed = seed
        self._polls = max(1, polls)
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, _Batch] = {}

    def handle(self, call: Call) -> bytes:
        """Return the body for a call to the files or batches; raise ApiError."""
        route = call.path.removeprefix("/v1/").split("/")
        match (call.method, *route):
            case ("POST", "files"):
                return protocol.dumps(self._upload(call))
            case ("GET", "files", name):
                return protocol.dumps(self._file(name)[0])
            case ("GET", "files", name, "content"):
                return self._file(name)[1]
            case ("POST", "batches"):
                return protocol.dumps(self._create(protocol.read_object(call.body)))
            case ("GET", "batches"):
                return protocol.dumps(self._list(call.query))
            case ("GET", "batches", name):
                return protocol.dumps(self._poll(self._batch(name)))
            case ("POST", "batches", name, "cancel"):
                return protocol.dumps(self._cancel(self._batch(name)))
        raise ApiError(404, f"Invalid URL ({call.method} {call.path})", code="unknown_url")

    def _upload(self, call: Call) -> dict[str, Any]:
        form = _form(call.headers.get("content-type", ""), call.body)
        if form.get("purpose", ("", b""))[1] != b"batch":
            raise ApiError(400, "The purpose of a file is 'batch' here.", param="purpose")
        if "file" not in form:
            raise ApiError(400, "Missing required parameter: 'file'.", param="file")
        return self._keep(*form["file"], purpose="batch")

    def _keep(self, filename: str, content: bytes, *, purpose: str) -> dict[str, Any]:
        fields = {
            "id": f"file-{len(self._files) + 1}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[fields["id"]] = (fields, content)
        return fields

    def _file(self, name: str) -> tuple[dict[str, Any], bytes]:
        if name not in self._files:
            raise ApiError(404, f"No such File object: {name}", param="id")
        return self._files[name]

    def _batch(self, name: str) -> _Batch:
        if name not in self._batches:
            raise ApiError(404, f"No batch found with id '{name}'.", param="id")
        return self._batches[name]

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        endpoint = given.get("endpoint")
        if endpoint not in (protocol.CHAT, protocol.COMPLETIONS):
            raise ApiError(400, f"Invalid endpoint: {endpoint!r}.", param="endpoint")
        if given.get("completion_window") != "24h":
            raise ApiError(400, "The completion_window is '24h'.", param="completion_window")
        _, content = self._file(str(given.get("input_file_id")))
        lines, errors = _lines(content, endpoint)
        number = len(self._batches)
        outcome = self._outcomes[number] if number < len(self._outcomes) else "completed"
        if outcome == "full":
            message = "Enqueued token limit reached. Please try again once some batches are done."
            errors.append({"code": "token_limit_exceeded", "message": message, "line": None})
        name = f"batch_{number + 1}"
        now = int(time.time())
        fields: dict[str, Any] = {
            "id": name,
            "object": "batch",
            "endpoint": endpoint,
            "errors": {"object": "list", "data": errors} if errors else None,
            "input_file_id": given["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + _DAY_S,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": given.get("metadata"),
        }
        # Nothing keeps the lines of a real batch in order.
        random.Random(f"{self._seed} {name}").shuffle(lines)
        self._batches[name] = _Batch(fields=fields, todo=lines, outcome=outcome)
        return fields

    def _list(self, query: str) -> dict[str, Any]:
        """Return a page of batches, the newest first; `after` names the last of the page before."""
        given = dict(urllib.parse.parse_qsl(query))
        limit = given.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            raise ApiError(400, f"Invalid 'limit': {limit!r}, wanted 1 to 100.", param="limit")
        names = list(reversed(self._batches))
        if "after" in given:
            self._batch(given["after"])
            names = names[names.index(given["after"]) + 1 :]
        page = [self._batches[name].fields for name in names[: int(limit)]]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(names) > len(page),
        }

    def _poll(self, batch: _Batch) -> dict[str, Any]:
        """Move a batch on by one poll and return what clients see of it."""
        fields = batch.fields
        status = fields["status"]
        if status == "cancelling":
            self._end(batch, "cancelled")
        elif status == "validating" and fields["errors"]:
            fields |= {"status": "failed", "failed_at": int(time.time())}
        elif status in ("validating", "in_progress"):
            if status == "validating":
                fields["request_counts"]["total"] = len(batch.todo)
                fields |= {"status": "in_progress", "in_progress_at": int(time.time())}
            batch.polls += 1
            left = max(1, self._polls - batch.polls + 1)
            for _ in range(-(-len(batch.todo) // left)):
                self._work(batch, batch.todo.pop(0))
            if batch.outcome == "expired" and 2 * batch.polls >= self._polls:
                self._expire(batch)
            elif batch.polls >= self._polls:
                self._end(batch, "completed")
        return fields

    def _expire(self, batch: _Batch) -> None:
        """End a batch with what is answered; the other lines are errors without a reply."""
        message = "This request could not be executed before the completion window expired."
        for line in batch.todo:
            name = f"batch_req_{batch.fields['id']}-{line['custom_id']}"
            error = {"code": "batch_expired", "message": message}
            row = {"id": name, "custom_id": line["custom_id"], "response": None, "error": error}
            batch.errors.append(row)
        batch.fields["request_counts"]["failed"] += len(batch.todo)
        self._end(batch, "expired")

    def _work(self, batch: _Batch, line: dict[str, Any]) -> None:
        """Answer one line."""
        counts = batch.fields["request_counts"]
        status, body = self._answer(batch.fields["id"], line["url"], line["body"])
        done = batch.output if status == 200 else batch.errors
        number = counts["completed"] + counts["failed"] + 1
        counts["completed" if status == 200 else "failed"] += 1
        request_id = f"{batch.fields['id']}-{number}"
        done.append(
            {
                "id": f"batch_req_{request_id}",
                "custom_id": line["custom_id"],
                "response": {"status_code": status, "request_id": request_id, "body": body},
                "error": None,
            }
        )

    def _cancel(self, batch: _Batch) -> dict[str, Any]:
        if batch.fields["status"] not in ("validating", "in_progress"):
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.fields['status']}'.")
        batch.fields |= {"status": "cancelling", "cancelling_at": int(time.time())}
        return batch.fields

    def _end(self, batch: _Batch, status: str) -> None:
        """Write the files of what is answered."""
        for key, lines in (("output_file_id", batch.output), ("error_file_id", batch.errors)):
            if lines:
                name = f"{batch.fields['id']}_{key.partition('_')[0]}.jsonl"
                content = b"".join(protocol.dumps(line) + b"\n" for line in lines)
                batch.fields[key] = self._keep(name, content, purpose="batch_output")["id"]
        batch.fields |= {"status": status, f"{status}_at": int(time.time())}


def _lines(content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the requests of an input file, and what makes the whole batch fail."""
    lines, errors, seen = [], [], set()
    for number, raw in enumerate(filter(None, content.split(b"\n")), start=1):
        line: Any = {}
        try:
            line = json.loads(raw.decode("utf-8"))
            wrong = _wrong(line, endpoint, seen)
        except (ValueError, RecursionError):
            wrong = "invalid_json_line", "This line is not parseable as valid JSON."
        if wrong:
            code, message = wrong
            errors.append({"code": code, "message": message, "line": number, "param": None})
        else:
            seen.add(line["custom_id"])
            lines.append(line)
    if not lines and not errors:
        message = "The input file is empty."
        errors.append({"code": "empty_file", "message": message, "line": None, "param": None})
    return lines, errors


def _wrong(line: Any, endpoint: str, seen: Iterable[str]) -> tuple[str, str] | None:
    """Return code and message of what is wrong with a line of the input file."""
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return "missing_required_parameter", "Missing required parameter: 'custom_id'."
    if line["custom_id"] in seen:
        return "duplicate_custom_id", f"The custom_id {line['custom_id']!r} occurs twice."
    if line.get("method") != "POST" or line.get("url") != endpoint:
        return "mismatched_endpoint", f"The line is no POST to {endpoint}."
    if not isinstance(line.get("body"), dict):
        return "missing_required_parameter", "Missing required parameter: 'body'."
    return None


def _form(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Return the fields of a multipart form: name to (file name, content)."""
    boundary = _BOUNDARY.search(content_type)
    if not content_type.startswith("multipart/form-data") or boundary is None:
        raise ApiError(400, "The body is no multipart/form-data.")
    mark = b"\r\n--" + boundary[1].encode("latin-1")
    form = {}
    for part in (b"\r\n" + body).split(mark)[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        field = _FIELD.search(head)
        if field:
            name, filename = ((g or b"").decode("utf-8", errors="replace") for g in field.groups())
            form[name] = (filename, content)
    return form
