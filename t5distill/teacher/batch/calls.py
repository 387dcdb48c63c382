"""The calls of OpenAI's Batch API: uploaded, created, found, looked at, downloaded.

Each call owns its retries: what a network or a full server does is tried again, with growing waits
and a cap; what the server refuses is raised at once, in its words. Only the creation of a batch is
sent once, since nobody knows after a lost reply whether there is one now.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

from t5distill.errors import UserError
from t5distill.teacher import replies
from t5distill.teacher.batch import lines
from t5distill.teacher.client import Client, NoReplyError, Received
from t5distill.teacher.generate import transient

# The key of our token in a batch's metadata.
TOKEN = "t5distill"
# What the list endpoint gives at once.
_PAGE = 100
# Statuses by which a server says that it has no such address.
_NO_API = (404, 405, 501)


class RefusedError(UserError):
    """The server will not do it, however often it is asked.

    Attributes:
      status: of HTTP.
    """

    def __init__(self, words: str, status: int):
        super().__init__(f"the server refused a request: {words}")
        self.status = status


class GaveUpError(Exception):
    """A call failed as often as it may be tried."""


class StoppedError(Exception):
    """The run was stopped while a call waited for another try."""


class Calls:
    """The batch API of one server."""

    def __init__(
        self,
        client: Client,
        *,
        stopped: asyncio.Event,
        max_attempts: int,
        first_wait_s: float,
        longest_wait_s: float,
    ):
        """Put the parts together.

        Args:
          client: of the server.
          stopped: set where no more calls are wanted.
          max_attempts: for each call.
          first_wait_s: before the second attempt; it doubles from one to the next.
          longest_wait_s: where the doubling ends.
        """
        self._client = client
        self._stopped = stopped
        self._max_attempts = max_attempts
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s

    async def probe(self) -> None:
        """Ask for a list of one batch, before anything is written down or uploaded.

        Raises:
          UserError: the key is wrong, or the server has no batch API.
        """
        list_ = self._client.sdk.batches.with_raw_response.list
        try:
            await self._persist(lambda: self._client.exchange(list_(limit=1)), "data")
        except RefusedError as e:
            if e.status in _NO_API:
                raise UserError(
                    f"this server has no batch API (GET /batches: HTTP {e.status}); leave --batch "
                    "out, and the requests are sent one by one"
                ) from e
            raise

    async def upload(self, content: bytes, name: str) -> str:
        """Upload a file of lines; return its id."""
        create = self._client.sdk.files.with_raw_response.create
        fields = await self._persist(
            lambda: self._client.exchange(create(file=(name, content), purpose="batch")), "id"
        )
        return fields["id"]

    async def create(self, file_id: str, endpoint: Any, token: str) -> dict[str, Any]:
        """Send one request to create a batch.

        Raises:
          NoReplyError: no readable reply came: there may be a batch, or not.
          RefusedError: there is none, and there will be none.
        """
        received = await self._client.exchange(
            self._client.sdk.batches.with_raw_response.create(
                input_file_id=file_id,
                endpoint=endpoint,
                completion_window="24h",
                metadata={TOKEN: token},
            )
        )
        fields, reason = _read(received, "id")
        if fields is None:
            raise NoReplyError(reason, sent=True)
        return fields

    async def find(self, token: str) -> list[dict[str, Any]]:
        """Return the batches with our token in their metadata, the oldest first."""
        list_ = self._client.sdk.batches.with_raw_response.list
        found, after = [], None
        while True:
            where: dict[str, Any] = {"limit": _PAGE} | ({"after": after} if after else {})
            page = await self._persist(lambda w=where: self._client.exchange(list_(**w)), "data")
            found += [b for b in page["data"] if (b.get("metadata") or {}).get(TOKEN) == token]
            if not page.get("has_more") or not page["data"]:
                break
            after = page["data"][-1]["id"]
        # The list has the newest first, and many can be of one second.
        return sorted(reversed(found), key=lambda b: b.get("created_at") or 0)

    async def retrieve(self, batch_id: str) -> dict[str, Any]:
        """Return the state of a batch."""
        retrieve = self._client.sdk.batches.with_raw_response.retrieve
        return await self._persist(lambda: self._client.exchange(retrieve(batch_id)), "status")

    async def cancel(self, batch_id: str) -> None:
        """Ask for the end of a batch; one that has ended stays as it is."""
        cancel = self._client.sdk.batches.with_raw_response.cancel
        received = await self._client.exchange(cancel(batch_id))
        if received.status // 100 != 2 and received.status != 409:
            raise GaveUpError(replies.server_words(received.status, received.raw))

    async def download(self, file_id: str, path: pathlib.Path) -> None:
        """Write a file of the server to the disk, whole.

        A cut body can look whole to HTTP, so its size is compared with what the server says of the
        file, and every line must be readable. In the last attempt one of the two is enough: a
        server may be wrong about a size, and a line may be broken for good.

        Raises:
          OSError: the disk is full.
        """
        files = self._client.sdk.files
        about = await self._persist(
            lambda: self._client.exchange(files.with_raw_response.retrieve(file_id)), "id"
        )
        size = about.get("bytes")
        reason = ""
        for attempt in range(self._max_attempts):
            if attempt:
                await self.pause(attempt, None)
            call = files.with_streaming_response.content(file_id)
            try:
                with open(path, "wb") as f:
                    received = await self._client.stream(call, f)
            except NoReplyError as e:
                reason = str(e)
                continue
            if received.status != 200:
                reason = _refused_or_reason(received)
                continue
            came, readable = path.stat().st_size, _readable(path)
            if readable and size in (None, came):
                return
            if attempt == self._max_attempts - 1 and (readable or size == came):
                return
            reason = f"{file_id}: {came} bytes came, wanted {size} in whole lines"
        raise GaveUpError(f"{self._max_attempts} attempts, the last: {reason}")

    async def _persist(
        self, send: Callable[[], Awaitable[Received]], wanted: str
    ) -> dict[str, Any]:
        """Make a call until it has a reply; return the JSON, which has the wanted field."""
        reason, wait_s = "", None
        for attempt in range(self._max_attempts):
            if attempt:
                await self.pause(attempt, wait_s)
            try:
                received = await send()
            except NoReplyError as e:
                reason, wait_s = str(e), None
                continue
            fields, reason = _read(received, wanted)
            wait_s = received.retry_after
            if fields is not None:
                return fields
        raise GaveUpError(f"{self._max_attempts} attempts, the last: {reason}")

    async def pause(self, attempt: int, least_s: float | None) -> None:
        """Wait before another attempt.

        Raises:
          StoppedError: the run was stopped meanwhile.
        """
        wait_s = min(self._longest_wait_s, self._first_wait_s * 2 ** (attempt - 1))
        wait_s = max(wait_s * random.uniform(0.5, 1.5), least_s or 0.0)
        if await self.stopped_within(wait_s):
            raise StoppedError

    async def stopped_within(self, seconds: float) -> bool:
        """Wait so long, or until the run is stopped; tell whether it is."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _read(received: Received, wanted: str) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON of a reply, or None and a reason to try again; raise RefusedError."""
    if received.status // 100 != 2:
        return None, _refused_or_reason(received)
    try:
        fields = json.loads(received.raw.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        return None, f"a reply that cannot be read: {type(e).__name__}: {e}"
    if not isinstance(fields, dict) or wanted not in fields:
        return None, f"a reply without {wanted!r}"
    return fields, ""


def _refused_or_reason(received: Received) -> str:
    """Return an error as a reason to try again, or raise RefusedError."""
    words = replies.server_words(received.status, received.raw)
    if not transient(received.status, words):
        raise RefusedError(words, received.status)
    return words


def _readable(path: pathlib.Path) -> bool:
    with open(path, "rb") as f:
        return all(lines.read(raw) is not None for raw in f if raw.strip())
