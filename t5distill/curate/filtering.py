"""Keep the chains whose answer is right; say of every other one why it was left out."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from t5distill import verify
from t5distill.errors import UserError
from t5distill.records import Chain, Problem


@dataclasses.dataclass(frozen=True)
class Curated:
    """What became of a set of chains: `len(kept) + len(rejected)` is how many came in."""

    kept: list[Chain]
    rejected: list[Chain]

    def report(self) -> dict[str, Any]:
        """Return the content of curation.json: counts that add up, and the keep rate."""
        reasons = collections.Counter(str(c.meta["reason"]) for c in self.rejected)
        total = len(self.kept) + len(self.rejected)
        return {
            "in": total,
            "kept": len(self.kept),
            "rejected": dict(sorted(reasons.items())),
            "keep_rate": len(self.kept) / total if total else 0.0,
            "problems_kept": len({c.problem_id for c in self.kept}),
        }


def curate(problems: Mapping[str, Problem], chains: Iterable[Chain]) -> Curated:
    """Judge each chain against its problem's gold answer; drop the same text of a problem twice.

    The result does not depend on the order of `chains`: they are taken by problem and sample.

    Args:
      problems: by id.
      chains: of any teacher; a chain of an unknown problem is the user's mistake.

    Returns:
      Kept chains with verdict `correct`; rejected ones with their verdict and `meta["reason"]`.
    """
    kept: list[Chain] = []
    rejected: list[Chain] = []
    seen: set[tuple[str, str]] = set()
    for chain in sorted(chains, key=lambda c: (c.problem_id, c.sample, c.text)):
        problem = problems.get(chain.problem_id)
        if problem is None:
            raise UserError(
                f"a chain for {chain.problem_id!r}, which is in none of the problem files"
            )
        verdict = verify.judge(
            chain.text,
            problem.answer,
            problem.kind,
            choices=problem.choices,
            finished=chain.meta.get("finish_reason") != "length",
        )
        reason = verdict.outcome
        if reason == "correct":
            text = (chain.problem_id, " ".join(chain.text.split()))
            reason = "duplicate" if text in seen else None
            seen.add(text)
        judged = dataclasses.replace(chain, verdict=verdict.outcome)
        if reason is None:
            kept.append(judged)
        else:
            meta = {**chain.meta, "reason": reason, "detail": verdict.detail}
            rejected.append(dataclasses.replace(judged, meta=meta))
    return Curated(kept, rejected)
