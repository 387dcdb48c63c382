"""The files of a batch: requests into lines, and lines that came back into replies.

A line that is sent has `custom_id`, `method`, `url` and `body`; one that comes back has `custom_id`
and either `response` (`status_code`, `body`) or `error` (`code`, `message`), in any order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from t5distill.teacher.asking import Request
from t5distill.teacher.client import PATHS

# What OpenAI admits in one file; other providers say the same or more.
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000

# The path of every line, by what `--endpoint` says.
ENDPOINTS = {name: f"/v1{path}" for name, path in PATHS.items()}

_PREFIX = "attempt-"
# No number of an attempt is longer than SQLite's largest.
_LONGEST_ID = len(_PREFIX) + 19
_BODY = re.compile(r'"body"\s*:\s*')


class Back(NamedTuple):
    """A line that came back.

    Attributes:
      number: of the attempt.
      status: of the reply, or None where there is none.
      raw: the reply's body as it stands in the line.
      error: why there is no reply, for a person.
    """

    number: int
    status: int | None
    raw: bytes
    error: str


def line(number: int, url: str, body: dict[str, Any]) -> bytes:
    """Return one request as a line of the input file."""
    fields = {"custom_id": f"{_PREFIX}{number}", "method": "POST", "url": url, "body": body}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def split(
    requests: Iterable[Request],
    url: str,
    *,
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> Iterator[list[Request]]:
    """Yield the requests in groups of which each fits into one file.

    Args:
      requests: to be sent.
      url: the path that all of them go to.
      most_requests: lines of one file.
      most_bytes: of one file.
    """
    group: list[Request] = []
    size = 0
    for request in requests:
        length = len(line(0, url, request.body)) + _LONGEST_ID
        if group and (len(group) >= most_requests or size + length > most_bytes):
            yield group
            group, size = [], 0
        group.append(request)
        size += length
    if group:
        yield group


def read(raw: bytes) -> Back | None:
    """Return what a line of an output or error file says, or None where it is none."""
    try:
        text = raw.decode("utf-8")
        fields = json.loads(text)
        custom_id = fields["custom_id"]
        response, error = fields.get("response"), fields.get("error")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    number = custom_id.removeprefix(_PREFIX) if isinstance(custom_id, str) else ""
    if not number.isdecimal():
        return None
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        raw_body = _slice(text, response.get("body"))
        return Back(int(number), response["status_code"], raw_body, "")
    if not isinstance(error, dict):
        return Back(int(number), None, b"", f"a line without reply and without error: {error}")
    return Back(int(number), None, b"", f"{error.get('code')}: {error.get('message')}")


def _slice(text: str, body: Any) -> bytes:
    """Return a line's body as it was written there, not as Python would write it again."""
    decoder = json.JSONDecoder()
    for found in _BODY.finditer(text):
        value, end = decoder.raw_decode(text, found.end())
        if value == body:
            return text[found.end() : end].encode()
    return json.dumps(body).encode()
