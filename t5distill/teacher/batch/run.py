"""One run of `generate --batch`: what is missing goes into batches, and they are waited for.

A batch goes through these steps, and a process may die between any two of them:

    intents written ─ file uploaded ─ creation announced ─ id written ─ polled ─ lines read ─ ended

Before the creation is announced nothing can cost anything: such a batch is dropped, or goes on from
its file. After that the provider is asked whether it has a batch with our token.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from t5distill.errors import UserError
from t5distill.teacher import accounts
from t5distill.teacher.asking import Prices, Request
from t5distill.teacher.batch import book, lines
from t5distill.teacher.batch.book import Batch
from t5distill.teacher.batch.calls import Calls, GaveUpError, RefusedError, StoppedError
from t5distill.teacher.batch.intake import Intake
from t5distill.teacher.batch.state import ENDED, State, errors
from t5distill.teacher.client import Client, NoReplyError
from t5distill.teacher.generate import Progress
from t5distill.teacher.ledger import Ledger

# The server has work enough; what was refused for that can be asked for again.
_FULL = "token_limit_exceeded"


class Limits(NamedTuple):
    """How much is sent, and how often.

    Attributes:
      most_requests: in one batch.
      most_bytes: of one batch's file.
      money: the most that the ledger may cost, or None.
      tokens: likewise.
      max_attempts: for one request, and for each call of the API.
      first_wait_s: before the second look at a batch; waits grow from there.
      longest_wait_s: between two looks, and between two tries.
    """

    most_requests: int = lines.MOST_REQUESTS
    most_bytes: int = lines.MOST_BYTES
    money: float | None = None
    tokens: int | None = None
    max_attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0


class BatchRun:
    """Rounds of batches until nothing is missing."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        *,
        server: str,
        endpoint: str,
        prices: Prices,
        limits: Limits,
        wanted: Callable[[], list[Request]],
        say: Callable[[str], None],
    ):
        """Put the parts together.

        Args:
          ledger: open for writing.
          client: of the server.
          server: its URL.
          endpoint: the path of every line.
          prices: of tokens.
          limits: of the batches.
          wanted: gives the requests for what is missing and not under way.
          say: prints a line.
        """
        self._ledger, self._prices = ledger, prices
        self._server, self._endpoint = book.address(server), endpoint
        self._limits, self._wanted, self._say = limits, wanted, say
        self._stopped = asyncio.Event()
        self._calls = Calls(
            client,
            stopped=self._stopped,
            max_attempts=limits.max_attempts,
            first_wait_s=limits.first_wait_s,
            longest_wait_s=limits.longest_wait_s,
        )
        self._tries: collections.Counter[str] = collections.Counter()
        self._full: set[str] = set()
        self._crowded = 0
        self.progress = Progress()
        self._intake = Intake(ledger, progress=self.progress, refuse=self._refuse)

    def stop(self, reason: str) -> None:
        """Send nothing more; batches at the provider go on."""
        self.progress.stopped = self.progress.stopped or reason
        self._stopped.set()

    async def run(self) -> Progress:
        """Ask for everything and wait for it; return what happened.

        Raises:
          UserError: the ledger cannot be written any more, or the server has no batch API.
        """
        try:
            await self._calls.probe()
            while not self._stopped.is_set():
                await self._submit()
                following = self._open()
                if not following:
                    break
                await self._round(following)
        except RefusedError as e:
            self._refuse(str(e))
        except GaveUpError as e:
            self.stop(f"the server does not answer: {e}")
        except StoppedError:
            pass
        for batch in self._open():
            if batch.creations:
                name = batch.batch_id or f"with the token {batch.token}"
                words = "goes on at the provider; the same command fetches its answers"
                self._say(f"batch {name} {words}")
            else:
                self._say(f"{batch.file_id} is no batch yet; the same command goes on from there")
        given_up = [r for r in self._wanted() if not self._may_try(r)]
        self.progress.failed = [(request, self._intake.error) for request in given_up]
        return self.progress

    async def _round(self, following: list[Batch]) -> None:
        """Wait for batches; where the provider had no room for any, wait a while longer."""
        answered, self._full = self.progress.answered, set()
        ended = await asyncio.gather(
            *(self._follow(batch) for batch in following), return_exceptions=True
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        if self.progress.answered > answered:
            # Others were served first; what found no room has not been tried.
            self._tries.subtract(self._full)
            self._crowded = 0
        elif self._full:
            self._crowded += 1
            await self._calls.pause(self._crowded, None)

    def _refuse(self, why: str) -> None:
        """Stop because of the server's own words."""
        self.progress.refused = True
        self.stop(why)

    def _may_try(self, request: Request) -> bool:
        return all(self._tries[key] < self._limits.max_attempts for key in request.keys)

    def _open(self) -> list[Batch]:
        """Return the open batches at this server."""
        return [b for b in book.open_batches(self._ledger.path) if b.server == self._server]

    async def _drop(self, token: str, why: str, *, charged: bool = False) -> None:
        """Close a batch that was never created: its lines cost nothing, where that is certain."""
        outcome = "unknown" if charged else "retry"
        await book.end(self._ledger, token, outcome=outcome, error=why, charged=charged)

    # --- sending

    async def _submit(self) -> None:
        """Upload what is missing and within the budget."""
        wanted = [request for request in self._wanted() if self._may_try(request)]
        admitted = list(self._admitted(wanted))
        if len(admitted) < len(wanted) and not admitted and not self._open():
            self.stop("the budget is spent")
        most = {"most_requests": self._limits.most_requests, "most_bytes": self._limits.most_bytes}
        for group in lines.split(admitted, self._endpoint, **most):
            if self._stopped.is_set():
                break
            await self._upload(group)

    def _admitted(self, requests: list[Request]) -> Iterator[Request]:
        """Yield requests as long as all of them at their reserve keep within the budget."""
        spent = accounts.spent(self._ledger.path)
        money, tokens = spent.money, spent.tokens
        for request in requests:
            money += request.reserve.money
            tokens += request.reserve.tokens
            over = self._limits.money is not None and money > self._limits.money
            if over or (self._limits.tokens is not None and tokens > self._limits.tokens):
                return
            yield request

    async def _upload(self, requests: list[Request]) -> None:
        """Write the intents of one batch down and upload its file."""
        token = uuid.uuid4().hex
        batch = Batch(token, self._server, self._endpoint, time.time(), self._prices)
        numbers = await book.begin(self._ledger, batch, requests)
        self.progress.attempts += len(requests)
        self._tries.update(key for request in requests for key in request.keys)
        content = b"".join(
            lines.line(number, self._endpoint, request.body)
            for number, request in zip(numbers, requests, strict=True)
        )
        try:
            file_id = await self._calls.upload(content, f"{token}.jsonl")
        except (RefusedError, GaveUpError, StoppedError) as e:
            await self._drop(token, str(e) or "interrupted before the upload ended")
            raise
        await book.uploaded(self._ledger, token, file_id)
        self._say(f"uploaded {file_id}, {len(requests):,} lines")

    async def _created(self, batch: Batch) -> Batch:
        """Return a batch with its id: found at the provider, or else created there.

        Raises:
          RefusedError: the server will not create it; it is closed.
          GaveUpError: it can neither be found nor created; it stays open.
          StoppedError: the run was stopped first.
        """
        assert batch.file_id is not None
        creations, reason = batch.creations, ""
        for attempt in range(self._limits.max_attempts):
            if attempt:
                await self._calls.pause(attempt, None)
            # A creation without a reply may have been one: the provider's list knows.
            found = await self._calls.find(batch.token) if creations else []
            if not found and self._stopped.is_set():
                if not creations:
                    await self._drop(batch.token, "interrupted before it was created")
                raise StoppedError
            if found:
                self._say(f"batch {found[0]['id']} is there from before")
            else:
                await book.creating(self._ledger, batch.token)
                creations += 1
                try:
                    create = self._calls.create
                    found = [await create(batch.file_id, batch.endpoint, batch.token)]
                except RefusedError as e:
                    # After a creation without a reply there may be a batch that no list shows yet.
                    await self._drop(batch.token, str(e), charged=creations > 1)
                    raise
                except NoReplyError as e:
                    reason = str(e)
                    continue
                self._say(f"batch {found[0]['id']} created")
            await book.created(self._ledger, batch.token, found[0]["id"])
            return batch._replace(batch_id=found[0]["id"], creations=creations)
        raise GaveUpError(f"{self._limits.max_attempts} attempts, the last: {reason}")

    # --- waiting

    async def _follow(self, batch: Batch) -> None:
        """Wait until a batch has ended, and take in what came back; leave it where stopped."""
        try:
            if batch.batch_id is None:
                batch = await self._created(batch)
            assert batch.batch_id is not None
            if batch.creations > 1:
                await self._twins(batch)
            wait_s, shown = min(self._limits.first_wait_s, self._limits.longest_wait_s), ""
            while True:
                fields = await self._calls.retrieve(batch.batch_id)
                state = State.of(fields)
                await book.seen(
                    self._ledger, batch.token, state.status, state.completed, state.failed
                )
                if state.words(batch) != shown:
                    shown = state.words(batch)
                    self._say(shown + state.times(batch))
                if state.status in ENDED:
                    return await self._take_in(batch, fields)
                if await self._calls.stopped_within(wait_s):
                    return
                wait_s = min(1.5 * wait_s, self._limits.longest_wait_s)
        except StoppedError:
            pass
        except RefusedError as e:
            gone = f"; if it is gone for good: {self._abandon(batch)}" if e.status == 404 else ""
            self._refuse(f"{e}{gone}")
        except GaveUpError as e:
            self.stop(f"the server does not answer: {e}")
        except BaseException:
            # Nothing can be written any more: the others must not wait for days.
            self._stopped.set()
            raise

    def _abandon(self, batch: Batch) -> str:
        name = batch.batch_id or batch.token
        return f"t5distill ledger abandon {self._ledger.path} --batch {name}"

    async def _twins(self, batch: Batch) -> list[str]:
        """Cancel batches that were created from the same file by mistake; return their ids."""
        twins = [b for b in await self._calls.find(batch.token) if b["id"] != batch.batch_id]
        for twin in twins:
            if twin.get("status") not in ENDED:
                with contextlib.suppress(NoReplyError, GaveUpError):
                    await self._calls.cancel(twin["id"])
        return [twin["id"] for twin in twins]

    # --- taking in

    async def _take_in(self, batch: Batch, fields: dict[str, Any]) -> None:
        """Write down every line that came back of an ended batch, and close it."""
        asked = book.lines(self._ledger.path, batch.token)
        state, whole = State.of(fields), 0
        for name in ("output_file_id", "error_file_id"):
            if not fields.get(name):
                continue
            path = self._ledger.path.with_name(f"{self._ledger.path.name}.{batch.token}.part")
            try:
                await self._calls.download(fields[name], path)
                whole += await self._intake.read(path, asked, batch.prices)
            except OSError as e:
                raise UserError(f"{path}: cannot be written ({e.strerror}); free some space") from e
            finally:
                path.unlink(missing_ok=True)
        twins = await self._twins(batch) if batch.creations > 1 else []
        reason = errors(fields) or f"no line came back (batch {state.status})"
        # The server says how many it has answered: where those are here, no other was.
        charged = state.status != "failed" and not 0 <= state.completed <= whole
        await book.end(
            self._ledger,
            batch.token,
            outcome="unknown" if charged else "retry",
            error=reason,
            charged=charged,
            twins=twins,
        )
        if state.status == "failed":
            self._intake.error = reason
            if _FULL in reason:
                self._full.update(key for line in asked.values() for key in line.keys)
            else:
                self._refuse(f"the server refused batch {batch.batch_id}: {reason}")
        elif state.status == "cancelled":
            # Somebody wanted it so: the next command may ask again, this one does not.
            self.stop(f"batch {batch.batch_id} was cancelled at the provider")
