"""The ledger: what was asked of a teacher, what came back, and what it may have cost.

One SQLite file (WAL, synchronous FULL). Three rules make it safe to stop at any moment:

- A row of intent is on the disk before a request leaves. An attempt without an end, found when the
  ledger is opened, was in flight when a process died: it is charged in full. Only the lines of a
  batch that is still open at the provider stay without an end.
- The raw bytes of a reply are on the disk before anything parses them. Replies that were stored and
  not parsed are given back by `unparsed`, so that no paid answer is asked for again.
- An answer's key says what was asked: rendered prompt, model, sampling parameters, sample. It says
  nothing of code or order, so the same question is never paid for twice.

Writers share one thread and one transaction: whatever is waiting is committed together, so a commit
costs the same for one reply and for fifty.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from t5distill import places
from t5distill.errors import UserError
from t5distill.teacher.rescue import Rescue
from t5distill.teacher.schema import connect, local, reading

# What is there already stays as it is.
_ADD_ITEM = "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)"
_ADD_ANSWER = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)"


class Item(NamedTuple):
    """One sample of one problem, as it is asked for.

    Attributes:
      key: the hash of what is asked, see `requests.cache_key`.
      problem_id: of the Problem.
      benchmark: of the Problem.
      style: a style of `records.STYLES`.
      teacher: the name that chains of it bear.
      sample: 0 for the first.
      prompt_sha: the hash of the rendered prompt.
    """

    key: str
    problem_id: str
    benchmark: str
    style: str
    teacher: str
    sample: int
    prompt_sha: str | None


class Cost(NamedTuple):
    """Tokens, and money in the currency of the given prices (0 without prices)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens


class Answer(NamedTuple):
    """What a teacher wrote for one key.

    Attributes:
      key: of the item.
      text: as it came.
      finish_reason: `stop`, `length` or what else the server said.
      tokens: `[{"text": ..., "top": [[text, logprob], ...]}, ...]`, or None.
    """

    key: str
    text: str
    finish_reason: str | None = None
    tokens: list[dict[str, Any]] | None = None


class Ledger:
    """A ledger file, opened for writing by one process at a time.

    Use as a context manager. `intend`, `receive`, `conclude` and `add_items` return futures that
    are done when the row is on the disk.
    """

    def __init__(self, path: str | os.PathLike[str], *, rescue_bytes: int = 16 * 2**20):
        """Open or create a ledger.

        Args:
          path: of the SQLite file.
          rescue_bytes: room set aside for replies that come in when the disk is full.

        Raises:
          UserError: another process writes to it, it is no ledger, or it cannot be created.
        """
        self.path = local(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = places.only_writer(
            self.path, "another process writes to this ledger; wait or stop it"
        )
        try:
            self._database = connect(self.path)
            self._rescue = Rescue(self.path.with_name(self.path.name + ".rescue"), rescue_bytes)
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what waits and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._database.close()
            self._rescue.close()
            os.close(self._lock)

    # --- writing

    def add_items(self, items: Iterable[Item], prompts: Iterable[tuple[str, str]]):
        """Write down what is to be asked; known keys stay as they are."""
        items, prompts = list(items), list(prompts)

        def write() -> None:
            insert = self._database.executemany
            insert("INSERT OR IGNORE INTO prompts VALUES (?, ?)", prompts)
            insert(_ADD_ITEM, items)

        return self._submit(write)

    def intend(self, keys: list[str], reserve: Cost):
        """Write down that a request for `keys` is about to leave; the future gives its number."""

        def write() -> int | None:
            found = self._database.execute(
                "INSERT INTO attempts (keys, started, prompt_tokens, completion_tokens, cost) "
                "VALUES (?, ?, ?, ?, ?)",
                (json.dumps(keys), time.time(), *reserve),
            )
            return found.lastrowid

        return self._submit(write)

    def receive(self, attempt: int, status: int, raw: bytes):
        """Write down a reply as it came, before anything looks into it."""

        def write() -> None:
            self._database.execute(
                "UPDATE attempts SET outcome = 'received', ended = ?, status = ?, raw = ? "
                "WHERE id = ?",
                (time.time(), status, raw, attempt),
            )

        return self._submit(write, rescue=(attempt, status, raw))

    def conclude(
        self,
        attempt: int,
        outcome: str,
        *,
        answers: Iterable[Answer] = (),
        cost: Cost | None = None,
        error: str | None = None,
    ):
        """Write down what became of an attempt; without a cost its reserve stays charged.

        Args:
          attempt: its number.
          outcome: `answered`, `retry`, `refused`, `malformed` or `unknown` (no reply came, so that
            nobody knows what was charged).
          answers: of `answered`.
          cost: what it cost, where that is known.
          error: one line for a person.
        """
        rows = [_row(answer, attempt) for answer in answers]

        def write() -> None:
            self._database.executemany(_ADD_ANSWER, rows)
            self._database.execute(
                "UPDATE attempts SET outcome = ?, ended = ?, error = ?, prompt_tokens = "
                "coalesce(?, prompt_tokens), completion_tokens = coalesce(?, completion_tokens), "
                "cost = coalesce(?, cost) WHERE id = ?",
                (outcome, time.time(), error, *(cost or (None, None, None)), attempt),
            )

        return self._submit(write)

    def import_answers(self, rows: Iterable[tuple[Item, Answer]]):
        """Write down answers that were made elsewhere; the future gives how many were new."""
        rows = list(rows)

        def write() -> int:
            self._database.executemany(_ADD_ITEM, [item for item, _ in rows])
            before = self._database.total_changes
            self._database.executemany(_ADD_ANSWER, [_row(a, None) for _, a in rows])
            return self._database.total_changes - before

        return self._submit(write)

    def write(self, work: Callable[[sqlite3.Connection], Any]) -> concurrent.futures.Future[Any]:
        """Do something else with the database, in a transaction with whatever waits.

        Args:
          work: executes statements; the future gives what it returns.
        """
        return self._submit(lambda: work(self._database))

    def _submit(
        self, write: Callable[[], Any], rescue: tuple[int, int, bytes] | None = None
    ) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._queue.put((write, (future, rescue)))
        return future

    def _write(self) -> None:
        """Commit what waits, together, until None comes."""
        while True:
            waiting = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(waiting) < 1000:
                    waiting.append(self._queue.get_nowait())
            work = [w for w in waiting if w is not None]
            self._commit(work)
            if len(work) < len(waiting):
                return

    def _commit(self, work: list[tuple[Callable[[], Any], Any]]) -> None:
        """Run writes in one transaction; where that fails, save replies in the rescue file."""
        if not work:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            results = [write() for write, _ in work]
            self._database.execute("COMMIT")
        except Exception as e:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            for _, (future, rescue) in work:
                saved = rescue is not None and self._rescue.save(*rescue)
                where = f"; the reply is safe in {self._rescue.path}" if saved else ""
                error = UserError(f"{self.path}: cannot be written ({e}){where}; free some space")
                future.set_exception(error)
            return
        for result, (_, (future, _)) in zip(results, work, strict=True):
            future.set_result(result)

    def _recover(self) -> None:
        """Take in what an earlier process could not finish."""
        with self._database:
            for attempt, status, raw in self._rescue.saved():
                self._database.execute(
                    "UPDATE attempts SET outcome = 'received', status = ?, raw = ? "
                    "WHERE id = ? AND outcome IS NULL",
                    (status, raw, attempt),
                )
            self._database.execute(
                "UPDATE attempts SET outcome = 'unknown', error = 'in flight when a process ended' "
                # What is in an open batch is under way at the provider, whoever waits for it.
                "WHERE outcome IS NULL AND (batch IS NULL OR batch NOT IN "
                "(SELECT token FROM batches WHERE ended IS NULL))"
            )
        self._rescue.clear()

    def unparsed(self) -> list[tuple[int, list[str], int, bytes, Cost]]:
        """Return replies that are stored and not concluded.

        Returns:
          The attempt's number, its keys, the HTTP status, the raw bytes, the reserve.
        """
        query = (
            "SELECT id, keys, status, raw, prompt_tokens, completion_tokens, cost "
            "FROM attempts WHERE outcome = 'received'"
        )
        with reading(self.path) as database:
            rows = database.execute(query).fetchall()
        return [(i, json.loads(keys), status, raw, Cost(*c)) for i, keys, status, raw, *c in rows]


def _row(answer: Answer, attempt: int | None) -> tuple[Any, ...]:
    """Return an answer as a row of its table; one without an attempt was made elsewhere."""
    tokens = answer.tokens and json.dumps(answer.tokens)
    return answer.key, attempt, answer.text, answer.finish_reason, tokens
