"""GSM-Hard (Gao et al. 2023): GSM8K's test questions with one number made large. Test only.

Official: gsmhardv2.jsonl of reasoning-machines/pal; 303 answers are no integers, 146 negative.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from t5distill.problems import source
from t5distill.records import Problem


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems; row k belongs to GSM8K's test question k (`meta["gsm8k"]`)."""
    for index, row in enumerate(source.json_lines(path)):
        yield Problem(
            id=f"gsm_hard-{index}",
            question=row.text("input").strip(),
            answer=row.number("target"),
            kind="numeric",
            benchmark="gsm_hard",
            split=split,
            meta={"code": row.text("code"), "gsm8k": f"gsm8k-test-{index}"},
        )
