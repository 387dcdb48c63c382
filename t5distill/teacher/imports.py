"""Chains that were made elsewhere, into a ledger."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from t5distill.records import Chain
from t5distill.teacher.ledger import Answer, Item, Ledger
from t5distill.teacher.prompts.rendering import digest


def import_chains(
    path: str | os.PathLike[str], chains: Iterable[Chain], benchmarks: Mapping[str, str]
) -> int:
    """Write chains down as answers; return how many were new.

    Args:
      path: of the ledger.
      chains: of problems that `benchmarks` knows.
      benchmarks: the benchmark of each problem, by its id.
    """
    with Ledger(path) as ledger:
        return ledger.import_answers(imported(c, benchmarks[c.problem_id]) for c in chains).result()


def imported(chain: Chain, benchmark: str) -> tuple[Item, Answer]:
    """Return a chain as an item and its answer; the same chain gives the same key."""
    identity = [benchmark, chain.problem_id, chain.style, chain.teacher, chain.sample, chain.text]
    key = digest(["imported", *identity])
    item = Item(
        key, chain.problem_id, benchmark, chain.style, chain.teacher, chain.sample, chain.prompt_sha
    )
    reason = chain.meta.get("finish_reason")
    return item, Answer(key, chain.text, reason, chain.meta.get("tokens"))
