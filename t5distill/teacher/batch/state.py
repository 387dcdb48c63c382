"""What a provider says of a batch, in numbers and in words."""

from __future__ import annotations

import datetime
import time
from typing import Any, NamedTuple

from t5distill.teacher.batch.book import Batch

# The statuses after which nothing more happens.
ENDED = ("completed", "failed", "expired", "cancelled")


class State(NamedTuple):
    """What a batch's object says of its progress; counts are -1 where it says nothing."""

    status: str
    completed: int
    failed: int
    total: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> State:
        """Read a batch's object."""
        counts = fields.get("request_counts") or {}
        numbers = (counts.get(name) for name in ("completed", "failed", "total"))
        return cls(str(fields["status"]), *(n if isinstance(n, int) else -1 for n in numbers))

    def words(self, batch: Batch) -> str:
        """Return the state in words, without times."""
        text = f"batch {batch.batch_id} {self.status}"
        if self.total > 0:
            text += f": {self.completed:,} of {self.total:,} done"
        return text + (f", {self.failed:,} failed" if self.failed > 0 else "")

    def times(self, batch: Batch) -> str:
        """Return the time since the batch began, and what is left at this pace."""
        elapsed = max(0.0, time.time() - batch.started)
        text = f", {datetime.timedelta(seconds=round(elapsed))} elapsed"
        done = max(0, self.completed) + max(0, self.failed)
        if self.status in ENDED or not 0 < done < self.total:
            return text
        left = elapsed * (self.total - done) / done
        return f"{text}, about {datetime.timedelta(seconds=round(left))} left"


def errors(fields: dict[str, Any]) -> str:
    """Return why a batch failed, in the server's words, or nothing."""
    found = fields.get("errors")
    rows = found.get("data") if isinstance(found, dict) else found
    words = []
    for error in (rows or [])[:3]:
        at = f" (line {error['line']})" if error.get("line") else ""
        words.append(f"{error.get('code')}: {error.get('message')}{at}")
    return "; ".join(words)
