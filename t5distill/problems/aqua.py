"""AQuA (Ling et al. 2017): algebra questions with five options.

Two forms are read: the authors' JSON Lines (`question`, `options` such as "A)21", `rationale`,
`correct`) and reasoning-machines/pal's aqua.jsonl, the 254 test questions as `input` (options
after "Answer Choices:") and `target` ("(a)").
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

from t5distill.problems import source
from t5distill.records import Problem

_HEADING = "Answer Choices:"
_LETTERS = "ABCDE"
_TARGET = re.compile(r"\(([a-e])\)")


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems of one file, ids counted from 0."""
    for index, row in enumerate(source.json_lines(path)):
        parts = _pal(row) if "input" in row.fields else _authors(row)
        question, choices, letter, solution = parts
        if letter not in _LETTERS[: len(choices)]:
            raise row.error(f"the answer is {letter!r}, wanted the letter of an option")
        yield Problem(
            id=f"aqua-{split}-{index}",
            question=question,
            answer=letter,
            kind="choice",
            benchmark="aqua",
            split=split,
            choices=choices,
            solution=solution,
        )


def _authors(row: source.Row) -> tuple[str, list[str], str, str]:
    """Take apart the authors' form."""
    choices = []
    for letter, option in zip(_LETTERS, row.texts("options"), strict=False):
        if not option.startswith(f"{letter})"):
            raise row.error(f"found the option {option!r}, wanted it to begin with {letter})")
        choices.append(option[2:].strip())
    if len(choices) != len(row.get("options")):
        raise row.error(f"found {len(row.get('options'))} options, wanted at most {len(_LETTERS)}")
    return row.text("question").strip(), choices, row.text("correct").strip(), row.text("rationale")


def _pal(row: source.Row) -> tuple[str, list[str], str, None]:
    """Take apart the form of the PAL repository.

    The markers are looked for in their order, since option texts hold brackets of their own.
    """
    question, heading, rest = row.text("input").rpartition(_HEADING)
    if not heading:
        raise row.error(f'input has no "{_HEADING}"')
    choices = []
    for letter in reversed(_LETTERS.lower()):
        rest, marker, option = rest.rpartition(f"({letter})")
        if not marker:
            raise row.error(f"found no option ({letter}) after {_HEADING!r}")
        choices.insert(0, option.strip())
    target = _TARGET.fullmatch(row.text("target").strip())
    if rest.strip() or target is None:
        raise row.error(f"target is {row.get('target')!r}, wanted a letter from (a) to (e)")
    return question.strip(), choices, target[1].upper(), None
