"""What the loopback teacher received, answered and charges for."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import threading
from typing import Any

from t5distill.records import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One request, or one line of a batch.

    Attributes:
      number: 1 for the first request that the server received.
      time: seconds since the epoch at which the reply was ready to leave.
      path: the path of the request, `?` where the bytes were no HTTP. A line of a batch has the
        path it was meant for.
      method: of the request; that of a batch's line is the POST which it stands for.
      status: the status of the reply, or None where a fault left none.
      fault: the injected fault, or None.
      client_request_id: what the client sent as X-Request-Id, or None.
      idempotency_key: what the client sent as Idempotency-Key, or None.
      problem_id: of the problem that was recognised (of the last prompt, where there are several).
      style: the style that was wanted.
      prompt_tokens: read.
      completion_tokens: generated, whether or not they arrived.
      batch_id: of the batch that this is a line of, or None.
      choices: how many texts were generated.
      billed: whether the tokens cost: they do once generated, even where a fault ate the reply.
    """

    number: int
    time: float
    path: str
    status: int | None
    method: str = "POST"
    fault: str | None = None
    client_request_id: str | None = None
    idempotency_key: str | None = None
    problem_id: str | None = None
    style: str | None = None
    batch_id: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    choices: int = 0
    billed: bool = False


class Bill:
    """The entries of a server, in memory and, line by line, in a file; safe to use from threads."""

    def __init__(self, path: Path | None = None, *, fsync: bool = False):
        """Begin an empty bill.

        Args:
          path: JSON Lines file that every entry is appended to before its reply leaves.
          fsync: whether each line is on disk by then, and not only with the operating system.
        """
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        self._fsync = fsync
        self._file: int | None = None
        if path is not None:
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, entry: Entry) -> None:
        """Add an entry; it is in the file when this returns."""
        with self._lock:
            self._entries.append(entry)
            if self._file is not None:
                # One write a line: it is with the operating system even if this process is killed.
                os.write(self._file, (json.dumps(vars(entry)) + "\n").encode())
                if self._fsync:
                    os.fsync(self._file)

    @property
    def entries(self) -> list[Entry]:
        """The entries so far, a copy."""
        with self._lock:
            return list(self._entries)

    def totals(self) -> dict[str, Any]:
        """Return counts of requests and of what they cost.

        Returns:
          requests, billed (requests), prompt_tokens, completion_tokens and choices (of the billed
          ones), statuses (status to count, `None` where no reply left) and faults (name to count).
        """
        entries = self.entries
        billed = [e for e in entries if e.billed]
        return {
            "requests": len(entries),
            "billed": len(billed),
            "prompt_tokens": sum(e.prompt_tokens for e in billed),
            "completion_tokens": sum(e.completion_tokens for e in billed),
            "choices": sum(e.choices for e in billed),
            "statuses": dict(collections.Counter(str(e.status) for e in entries)),
            "faults": dict(collections.Counter(e.fault for e in entries if e.fault)),
        }

    def close(self) -> None:
        """Close the file; what is in memory stays readable."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
