"""What became of a set of chains, in numbers that add up: the content of curation.json."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

from t5distill.curate.alignment import CASES
from t5distill.curate.filtering import KEPT, NEGATIVE, REASONS, SoftCounts


class Line(NamedTuple):
    """A decision, ready to be written: the chain as JSON and what is counted of it."""

    json: str
    fate: str
    reason: str | None
    verdict: str
    cut: bool
    target_tokens: int | None
    problem_id: str
    soft: SoftCounts | None = None


@dataclasses.dataclass
class Tally:
    """Counts that add up: in = kept + negatives + every reason."""

    fates: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    verdicts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    tokens: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    problems: set[str] = dataclasses.field(default_factory=set)
    problems_kept: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    cut: int = 0
    soft_cases: list[int] = dataclasses.field(default_factory=lambda: [0] * len(CASES))
    soft_tokens: int = 0
    soft_mass: float = 0.0

    def add(self, line: Line) -> None:
        """Count one decision."""
        self.fates[line.fate] += 1
        self.verdicts[line.verdict] += 1
        self.cut += line.cut
        self.problems.add(line.problem_id)
        if line.reason:
            self.reasons[line.reason] += 1
        if line.fate == KEPT:
            self.problems_kept[line.problem_id] += 1
            if line.target_tokens is not None:
                self.tokens[line.target_tokens] += 1
            if line.soft is not None:
                pairs = zip(self.soft_cases, line.soft.cases, strict=True)
                self.soft_cases = [a + b for a, b in pairs]
                self.soft_tokens += line.soft.soft
                self.soft_mass += line.soft.mass

    def report(self) -> dict[str, Any]:
        """Return the content of curation.json."""
        total = self.fates.total()
        order = {reason: i for i, reason in enumerate(REASONS)}
        reasons = sorted(self.reasons, key=lambda r: (order.get(r, len(order)), r))
        chains = collections.Counter(self.problems_kept.values())
        report: dict[str, Any] = {
            "in": total,
            "kept": self.fates[KEPT],
            "negatives": self.fates[NEGATIVE],
            "rejected": {reason: self.reasons[reason] for reason in reasons},
            "keep_rate": self.fates[KEPT] / total if total else 0.0,
            "verdicts": dict(self.verdicts.most_common()),
            "cut": self.cut,
            "problems": len(self.problems),
            "problems_kept": len(self.problems_kept),
            "chains_of_a_problem": {str(n): chains[n] for n in sorted(chains)},
        }
        if self.tokens:
            report["target_tokens"] = _percentiles(self.tokens)
        return report

    def soft_labels(self) -> dict[str, Any]:
        """Return what curation.json says of the soft labels of the kept chains."""
        tokens = sum(self.soft_cases)
        return {
            "tokens": tokens,
            "with_soft_target": self.soft_tokens / tokens if tokens else 0.0,
            "mass": self.soft_mass / self.soft_tokens if self.soft_tokens else 0.0,
            "cases": dict(zip(CASES, self.soft_cases, strict=True)),
        }


def _percentiles(counts: collections.Counter[int]) -> dict[str, int]:
    """Return the 50th, 90th and 99th percentile and the longest of counted lengths."""
    total, passed, found = counts.total(), 0, {}
    for length in sorted(counts):
        passed += counts[length]
        for percent in (50, 90, 99):
            if 100 * passed >= percent * total:
                found.setdefault(f"p{percent}", length)
    return {**found, "max": max(counts)}
