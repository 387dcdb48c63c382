"""StrategyQA (Geva et al. 2021): yes/no questions that need implicit steps.

Official: train.json (2,061) and dev.json (229) of eladsegal/strategyqa, one list each. The test
answers are not public, so dev.json becomes the test split.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from t5distill.problems import source
from t5distill.records import Problem


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems; facts and decomposition, where given, go into `meta`."""
    for row in source.json_array(path):
        answer = row.get("answer")
        if not isinstance(answer, bool):
            raise row.error(f"answer is {answer!r}, wanted true or false")
        hints = [name for name in ("facts", "decomposition") if name in row.fields]
        yield Problem(
            id=f"strategyqa-{row.text('qid')}",
            question=row.text("question").strip(),
            answer="yes" if answer else "no",
            kind="yes_no",
            benchmark="strategyqa",
            split=split,
            meta={name: row.texts(name) for name in hints},
        )
