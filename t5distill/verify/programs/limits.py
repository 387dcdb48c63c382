"""What one untrusted job may use."""

from __future__ import annotations

import dataclasses

SOURCE_CHARS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one job. The verdict `timeout` is decided by processor time.

    A program that is run once more, see `kinds.size_of`, has them twice.

    Attributes:
      cpu_s: processor seconds, however long the machine takes to grant them.
      wall_s: seconds on the clock, for a program that waits instead of working; by default so much
        more than `cpu_s` that a busy machine does not change a verdict.
      memory_mb: what the job may add to the memory of the interpreter it starts in.
    """

    cpu_s: float = 5.0
    wall_s: float | None = None
    memory_mb: int = 256

    def __post_init__(self):
        if not (self.cpu_s > 0 and self.memory_mb > 0 and (self.wall_s is None or self.wall_s > 0)):
            raise ValueError(f"limits must be above zero, found {self}")

    @property
    def clock_s(self) -> float:
        """Seconds on the clock after which the job is stopped."""
        return self.wall_s if self.wall_s is not None else 10 * self.cpu_s + 10
