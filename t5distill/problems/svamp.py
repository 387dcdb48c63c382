"""SVAMP (Patel et al. 2021): 1,000 varied one- and two-step word problems.

Official: SVAMP.json of arkilpatel/SVAMP, one list. There is no official train/test split.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from t5distill.problems import source
from t5distill.records import Problem


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems of SVAMP.json; `Equation` and `Type` go into `meta` as they are.

    The answer is `Answer`, never the equation's value (chal-680's disagrees).
    """
    for row in source.json_array(path):
        yield Problem(
            id=f"svamp-{row.text('ID')}",
            question=_joined(row.text("Body").strip(), row.text("Question").strip()),
            answer=row.number("Answer"),
            kind="numeric",
            benchmark="svamp",
            split=split,
            meta={"equation": row.text("Equation"), "type": row.text("Type")},
        )


def _joined(body: str, question: str) -> str:
    """Join body and question into one text.

    358 bodies were cut off at the comma before the question ("If he sold 5 of them" + "How many
    ..."): there the sentence is mended, everywhere else both parts stay as they are.
    """
    if body[-1] in ".?!":
        return f"{body} {question}"
    return f"{body.rstrip(',')}, {question[0].lower()}{question[1:]}"
