"""Lines that came back, into the ledger: the bytes first, then what they say."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any

from t5distill.teacher.asking import Prices
from t5distill.teacher.batch import book, lines
from t5distill.teacher.generate import NOTHING, Progress, conclude
from t5distill.teacher.ledger import Ledger

# Lines that are written down before the next are read.
_GROUP = 500


class Intake:
    """The door through which the lines of batches come in, the same as for direct replies.

    Attributes:
      error: why the last line that has no answer has none.
    """

    def __init__(self, ledger: Ledger, *, progress: Progress, refuse: Callable[[str], None]):
        """Put the parts together.

        Args:
          ledger: open for writing.
          progress: counts answers and outcomes.
          refuse: called where a line says that the server will not do it.
        """
        self._ledger, self._progress = ledger, progress
        self._refuse = refuse
        self.error = ""

    async def read(self, path: pathlib.Path, asked: dict[int, book.Line], prices: Prices) -> int:
        """Write down the lines of a file that have no end yet.

        Args:
          path: of the file.
          asked: the lines of the batch; those that are written down get an outcome.
          prices: of tokens.

        Returns:
          How many lines of the file hold a reply.
        """
        whole, group = 0, []
        with open(path, "rb") as f:
            for raw in f:
                back = lines.read(raw)
                if back is None or back.number not in asked:
                    continue
                whole += back.status == 200
                if asked[back.number].outcome is None:
                    group.append(back)
                    asked[back.number] = asked[back.number]._replace(outcome="received")
                if len(group) >= _GROUP:
                    await self._conclude(group, asked, prices)
                    group = []
        await self._conclude(group, asked, prices)
        return whole

    async def _conclude(
        self, group: list[lines.Back], asked: dict[int, book.Line], prices: Prices
    ) -> None:
        """Write replies down as they came; then what they say."""
        await asyncio.gather(
            *(
                asyncio.wrap_future(self._ledger.receive(back.number, back.status, back.raw))
                for back in group
                if back.status is not None
            )
        )
        written = []
        for back in group:
            ended = self._end(back, asked[back.number], prices)
            written.append(self._ledger.conclude(back.number, **ended))
        await asyncio.gather(*map(asyncio.wrap_future, written))

    def _end(self, back: lines.Back, line: book.Line, prices: Prices) -> dict[str, Any]:
        """Return what is to be written down of a line, and count it."""
        if back.status is None:
            ended: dict[str, Any] = {"outcome": "retry", "cost": NOTHING, "error": back.error[:500]}
        else:
            ended = conclude(line.keys, back.status, back.raw, line.reserve, prices)
        self._progress.by_outcome[ended["outcome"]] += 1
        self._progress.answered += len(ended.get("answers", ()))
        if ended["outcome"] == "refused":
            self._refuse(f"the server refused a request: {ended['error']}")
        self.error = ended.get("error") or self.error
        return ended
