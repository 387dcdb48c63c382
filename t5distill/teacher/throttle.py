"""How many requests may be under way: a window that gives way to 429, rate limits, a budget."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator

from t5distill.teacher.ledger import Cost

# After a 429 the window shrinks at most this often: its reasons were under way together.
_SHRINK_EVERY_S = 1.0


class BudgetSpentError(Exception):
    """The next request could exceed the budget, and none is under way that might free some."""


class Throttle:
    """Admits requests one by one; everything on one event loop.

    The window grows by one for each window of successes and halves on a 429 (additive increase,
    multiplicative decrease).
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ):
        self._most = concurrency
        self._window = float(concurrency)
        self._under_way = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self.closed = asyncio.Event()
        self._not_before = 0.0
        self._shrunk = 0.0
        self._rates = [
            _Rate(limit, weigh)
            for limit, weigh in (
                (requests_per_minute, lambda _: 1.0),
                (tokens_per_minute, lambda reserve: float(reserve.tokens)),
            )
            if limit
        ]

    @property
    def window(self) -> int:
        """How many requests may be under way now."""
        return max(1, int(self._window))

    @contextlib.asynccontextmanager
    async def slot(self, reserve: Cost) -> AsyncIterator[None]:
        """Wait until a request of this reserve may leave; hold its place meanwhile.

        Once the throttle is closed nobody waits any more, and nothing should leave.
        """
        await self._enter()
        try:
            while (wait := self._wait_s(reserve)) > 0:
                if await self.closed_within(wait):
                    break
            for rate in self._rates:
                rate.take(reserve)
            yield
        finally:
            self._under_way -= 1
            self._admit()

    async def _enter(self) -> None:
        """Take a place, in the order of asking."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._under_way -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        """Give free places to those that wait: one waking for each, not all for one."""
        while self._waiting and self._under_way < self.window:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self._under_way += 1

    async def closed_within(self, seconds: float) -> bool:
        """Wait so long, or until the throttle is closed; tell whether it is."""
        try:
            await asyncio.wait_for(self.closed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _wait_s(self, reserve: Cost) -> float:
        now = time.monotonic()
        return max([self._not_before - now, *(rate.wait_s(reserve, now) for rate in self._rates)])

    def succeeded(self) -> None:
        """Note a reply that was served."""
        self._window = min(self._most, self._window + 1.0 / self._window)
        self._admit()

    def refused(self, retry_after_s: float | None) -> None:
        """Note a 429: shrink the window, and wait as long as the server asks."""
        now = time.monotonic()
        if retry_after_s:
            self._not_before = max(self._not_before, now + retry_after_s)
        if now - self._shrunk >= _SHRINK_EVERY_S:
            self._window = max(1.0, self._window / 2)
            self._shrunk = now


class _Rate:
    """At most `limit` in any 60 seconds, counted when a request leaves."""

    def __init__(self, limit: float, weigh):
        self._limit = limit
        self._weigh = weigh
        self._left: collections.deque[tuple[float, float]] = collections.deque()
        self._sum = 0.0

    def wait_s(self, reserve: Cost, now: float) -> float:
        """Return how long a request has to wait; one above the limit waits for an empty minute."""
        while self._left and self._left[0][0] <= now - 60.0:
            self._sum -= self._left.popleft()[1]
        weight = min(self._weigh(reserve), self._limit)
        if self._sum + weight <= self._limit:
            return 0.0
        over, gone = self._sum + weight - self._limit, 0.0
        for moment, some in self._left:
            gone += some
            if gone >= over:
                return max(0.001, moment + 60.0 - now)
        return 60.0

    def take(self, reserve: Cost) -> None:
        weight = min(self._weigh(reserve), self._limit)
        self._left.append((time.monotonic(), weight))
        self._sum += weight


class Budget:
    """What may be spent in all, in money or tokens; requests under way count at their reserve."""

    def __init__(self, *, spent: Cost, money: float | None = None, tokens: int | None = None):
        self.money, self.tokens = money, tokens
        self._spent_money, self._spent_tokens = spent.money, spent.tokens
        self._under_way = 0
        self._reserved_money, self._reserved_tokens = 0.0, 0
        self._changed = asyncio.Condition()

    @property
    def spent(self) -> tuple[float, int]:
        """Money and tokens that may have been spent, reserves left out."""
        return self._spent_money, self._spent_tokens

    def _allows(self, reserve: Cost) -> bool:
        money = self._spent_money + self._reserved_money + reserve.money
        tokens = self._spent_tokens + self._reserved_tokens + reserve.tokens
        in_money = self.money is None or money <= self.money
        return in_money and (self.tokens is None or tokens <= self.tokens)

    async def reserve(self, reserve: Cost) -> None:
        """Set aside what a request may cost; wait where others under way may give some back.

        Raises:
          BudgetSpentError: it would exceed the budget with nothing under way.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._allows(reserve) or not self._under_way)
            if not self._allows(reserve):
                raise BudgetSpentError
            self._add(1, reserve)

    async def settle(self, reserve: Cost, cost: Cost) -> None:
        """Replace a reserve by what was spent."""
        async with self._changed:
            self._add(-1, reserve)
            self._spent_money += cost.money
            self._spent_tokens += cost.tokens
            self._changed.notify_all()

    def _add(self, sign: int, reserve: Cost) -> None:
        self._under_way += sign
        # Without requests under way nothing is reserved: no rounding error may pile up.
        money = self._reserved_money + sign * reserve.money
        self._reserved_money = money if self._under_way else 0.0
        self._reserved_tokens += sign * reserve.tokens
