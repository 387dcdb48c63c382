"""What a person sees while a teacher is asked: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from t5distill.teacher.asking import Prices
from t5distill.teacher.generate import Progress
from t5distill.teacher.throttle import Budget, Throttle

_LINE_EVERY_S = 30.0


class Shown:
    """Progress with spend and the time left."""

    def __init__(
        self, total: int, unit: str, *, budget: Budget, throttle: Throttle, prices: Prices
    ):
        """Begin with nothing done.

        Args:
          total: answers that are wanted.
          unit: what one of them is.
          budget: what was spent.
          throttle: how many requests may be under way.
          prices: of tokens, which say whether spending is shown as money.
        """
        self._total, self._unit = total, unit
        self._budget, self._throttle, self._prices = budget, throttle, prices
        self._bar = tqdm(total=total, unit=unit, disable=not sys.stderr.isatty(), smoothing=0.05)
        self._begin = self._said = time.monotonic()

    def report(self, progress: Progress) -> None:
        """Show how far things are; called after every attempt."""
        money, tokens = self._budget.spent
        spent = f"{money:.2f}" if self._prices.completion else f"{tokens:,} tokens"
        failed = progress.attempts - progress.by_outcome["answered"]
        state = f"spent {spent}, {self._throttle.window} at once"
        if not self._bar.disable:
            self._bar.update(progress.answered - self._bar.n)
            self._bar.set_postfix_str(state, refresh=False)
            return
        now = time.monotonic()
        if now - self._said < _LINE_EVERY_S:
            return
        self._said = now
        rate = progress.answered / (now - self._begin)
        left = (self._total - progress.answered) / rate if rate else 0.0
        ends = f"about {left:,.0f} s left" if rate else "no answer yet"
        print(
            f"{progress.answered:,} of {self._total:,} {self._unit}s, {failed:,} other replies, "
            f"{state}, {ends}",
            flush=True,
        )

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
