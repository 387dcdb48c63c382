"""How an experiment is run."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple


class Options(NamedTuple):
    """How an experiment is run.

    Attributes:
      work: where everything goes.
      tiny: on embedded problems with a simulated teacher.
      sizes: how many of those: train, validation, test, templates never seen.
      seeds: of the students of each row; the first one is that of generated problems too.
      raw: official files by benchmark.
      cost: options of `generate` that say what may be spent.
      missing: most of a teacher's samples that may have no answer, as a share.
      given: `NAME=VALUE` of the command line.
      dry: only print what would be run.
    """

    work: pathlib.Path
    tiny: bool
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    raw: Mapping[str, str]
    cost: Mapping[str, Any]
    missing: float
    given: tuple[str, ...]
    dry: bool

    @property
    def data(self) -> pathlib.Path:
        """Where problems and sets are."""
        return self.work / "data"

    def raw_of(self, benchmark: str) -> str | None:
        """Return where a benchmark's official files are; a folder may hold a family, as BBH's."""
        return self.raw.get(benchmark) or self.raw.get(benchmark.partition("_")[0])

    @property
    def ledger(self) -> pathlib.Path:
        """Where the teacher's replies are."""
        return self.work / "ledger.db"
