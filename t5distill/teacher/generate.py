"""Ask a teacher for everything that is missing, and write down all that comes back."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import random
from collections.abc import Callable, Iterable
from typing import Any

from t5distill.errors import UserError
from t5distill.teacher import replies
from t5distill.teacher.asking import Prices, Request
from t5distill.teacher.client import Client, NoReplyError, Received
from t5distill.teacher.ledger import Cost, Ledger
from t5distill.teacher.throttle import Budget, BudgetSpentError, Throttle

NOTHING = Cost()
# Waits between attempts grow to this.
_LONGEST_WAIT_S = 60.0
# Requests in hand for each that may be under way: those that wait before another attempt hold no
# place in the window.
_IN_HAND = 3


@dataclasses.dataclass
class Progress:
    """What has happened so far.

    Attributes:
      answered: keys that got an answer in this run.
      attempts: requests that left.
      by_outcome: attempts by what became of them.
      failed: requests that were given up after the last attempt, with the last reason.
      stopped: why the run ended early, or None.
      refused: whether it was the server that ended it.
    """

    answered: int = 0
    attempts: int = 0
    by_outcome: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failed: list[tuple[Request, str]] = dataclasses.field(default_factory=list)
    stopped: str | None = None
    refused: bool = False


class Generation:
    """One run over a list of requests."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        throttle: Throttle,
        budget: Budget,
        *,
        prices: Prices,
        concurrency: int,
        max_attempts: int = 8,
        first_wait_s: float = 0.5,
        report: Callable[[Progress], None] = lambda _: None,
    ):
        """Put the parts together.

        Args:
          ledger: open for writing.
          client: of the teacher.
          throttle: admits requests.
          budget: with what the ledger has spent.
          prices: of tokens.
          concurrency: requests under way at most.
          max_attempts: for one request, then it counts as failed.
          first_wait_s: before the second attempt; it doubles from one to the next.
          report: called after each attempt.
        """
        self._ledger, self._client = ledger, client
        self._throttle, self._budget = throttle, budget
        self._prices, self._concurrency = prices, concurrency
        self._max_attempts, self._first_wait_s = max_attempts, first_wait_s
        self._report = report
        self._random = random.Random()
        self.progress = Progress()

    def stop(self, reason: str) -> None:
        """Send nothing more; what is under way is still waited for and written down."""
        self.progress.stopped = self.progress.stopped or reason
        self._throttle.closed.set()

    async def run(self, requests: Iterable[Request]) -> Progress:
        """Ask for everything; return what happened.

        Raises:
          UserError: the ledger cannot be written any more.
        """
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                if self._throttle.closed.is_set():
                    return
                await self._ask(request)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_IN_HAND * self._concurrency):
                    group.create_task(work())
        except* UserError as errors:
            raise errors.exceptions[0] from None
        return self.progress

    async def _ask(self, request: Request) -> None:
        """Make attempts for one request until it is answered, given up, or the run stops."""
        reason = ""
        for attempt in range(self._max_attempts):
            if attempt and await self._throttle.closed_within(self._wait_s(attempt)):
                return
            async with self._throttle.slot(request.reserve):
                if self._throttle.closed.is_set():
                    return
                try:
                    await self._budget.reserve(request.reserve)
                except BudgetSpentError:
                    return self.stop("the budget is spent")
                reason, left = await self._attempt(request)
            self._report(self.progress)
            if not left or self._throttle.closed.is_set():
                return
            request = without(request, left)
        self.progress.failed.append((request, reason))

    def _wait_s(self, attempt: int) -> float:
        wait = min(_LONGEST_WAIT_S, self._first_wait_s * 2 ** (attempt - 1))
        return wait * self._random.uniform(0.5, 1.5)

    async def _attempt(self, request: Request) -> tuple[str, list[str]]:
        """Make one attempt; return a reason and the keys that are still without an answer."""
        cost = request.reserve
        try:
            number = await asyncio.wrap_future(self._ledger.intend(request.keys, request.reserve))
            self.progress.attempts += 1
            try:
                received = await self._client.send(request.body)
            except NoReplyError as e:
                cost = cost if e.sent else NOTHING
                outcome = "unknown" if e.sent else "retry"
                self._conclude(number, outcome, cost=cost, error=str(e))
                return str(e), request.keys
            await asyncio.wrap_future(self._ledger.receive(number, *received[:2]))
            cost, reason, left = self._read(number, request, received)
            return reason, left
        finally:
            await self._budget.settle(request.reserve, cost)

    def _read(
        self, number: int, request: Request, received: Received
    ) -> tuple[Cost, str, list[str]]:
        """Conclude an attempt by its reply; return its cost, a reason, and the keys left."""
        status, raw, retry_after_s = received
        concluded = conclude(request.keys, status, raw, request.reserve, self._prices)
        self._conclude(number, **concluded)
        cost, error = concluded["cost"], concluded.get("error", "")
        if concluded["outcome"] == "answered":
            self._throttle.succeeded()
            found = {answer.key for answer in concluded["answers"]}
            self.progress.answered += len(found)
            left = [key for key in request.keys if key not in found]
            return cost, "the reply had fewer choices than were asked for", left
        if concluded["outcome"] == "refused":
            self.progress.refused = True
            self.stop(f"the server refused a request: {error}{self._advice(status, error)}")
        elif status == 429:
            self._throttle.refused(retry_after_s)
        return cost, error, request.keys

    def _conclude(self, number: int, outcome: str, **fields: Any) -> None:
        """Write down the end of an attempt; a failing disk is noticed by the next intent."""
        self.progress.by_outcome[outcome] += 1
        self._ledger.conclude(number, outcome, **fields)

    def _advice(self, status: int, error: str) -> str:
        """Return what to do about the commonest refusals."""
        if status in (401, 403):
            return f"; the key comes from ${self._client.server.key_variable}"
        if status == 404 and "model" not in error:
            return "; the URL of most servers ends in /v1"
        return ""


def without(request: Request, left: list[str]) -> Request:
    """Return a request for those of its keys that are left."""
    if len(left) == len(request.keys):
        return request
    body = {**request.body, "n": len(left)}
    if len(left) == 1:
        del body["n"]
    return Request(left, body, request.reserve)


def transient(status: int, words: str) -> bool:
    """Whether an error may pass: a full server or a broken one, not an account without money."""
    if status == 429:
        return "insufficient_quota" not in words
    return status >= 500 or status in (408, 409)


def conclude(
    keys: list[str], status: int, raw: bytes, reserve: Cost, prices: Prices
) -> dict[str, Any]:
    """Return what is to be written down of a reply: the fields of `Ledger.conclude`.

    Args:
      keys: of the items that were asked for.
      status: of HTTP.
      raw: the body.
      reserve: what is charged where the reply does not say what it cost.
      prices: of tokens.
    """
    if status != 200:
        words = replies.server_words(status, raw)
        outcome = "retry" if transient(status, words) else "refused"
        return {"outcome": outcome, "cost": NOTHING, "error": words}
    try:
        reply = replies.parse(keys, raw)
    except replies.MalformedReplyError as e:
        # The server may have charged for what it could not deliver.
        return {"outcome": "malformed", "cost": reserve, "error": str(e)[:500]}
    cost = reserve
    if reply.prompt_tokens is not None and reply.completion_tokens is not None:
        cost = prices.cost(reply.prompt_tokens, reply.completion_tokens)
    return {"outcome": "answered", "answers": reply.answers, "cost": cost}


def settle_unparsed(ledger: Ledger, prices: Prices) -> int:
    """Conclude replies that an earlier process stored and did not parse; return how many.

    They keep their reserve as cost where the reply does not say better.
    """
    stored = ledger.unparsed()
    for number, keys, status, raw, reserve in stored:
        ledger.conclude(number, **conclude(keys, status, raw, reserve, prices))
    return len(stored)
