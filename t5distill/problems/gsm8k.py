"""GSM8K (Cobbe et al. 2021): grade-school word problems with worked solutions.

Official: train.jsonl (7,473) and test.jsonl (1,319) of openai/grade-school-math, objects with
`question` and `answer`; the answer's last line is "#### N". Also `tensorflow_datasets`' gsm8k.
Beside the files may lie train_socratic.jsonl and test_socratic.jsonl, whose answers are lines
`sub-question ** solution`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from t5distill.errors import UserError
from t5distill.problems import source
from t5distill.records import Problem

MARKER = "####"

_ANSWER = re.compile(r"\s*(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*", re.ASCII)


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems of one official file; ids count its records from 0.

    Where the Socratic file of the same split lies beside it, `meta["chains"]["socratic"]` has its
    text.
    """
    decompositions = _decompositions(path.with_name(f"{path.stem}_socratic.jsonl"))
    for index, row in enumerate(source.json_lines(path)):
        problem = _problem(row, f"gsm8k-{split}-{index}", split)
        text = decompositions.get(" ".join(problem.question.split()))
        # A few of them come to another answer; they would teach it.
        if text is not None and text.rpartition(MARKER)[2].replace(",", "").strip() == (
            problem.answer
        ):
            meta = {**problem.meta, "chains": {"socratic": text}}
            problem = dataclasses.replace(problem, meta=meta)
        yield problem


def _decompositions(path: pathlib.Path) -> dict[str, str]:
    """Return the text of a Socratic file by question; nothing where there is no such file."""
    if not path.is_file():
        return {}
    rows = source.json_lines(path)
    return {" ".join(row.text("question").split()): row.text("answer") for row in rows}


def read_tfds(split: str) -> Iterator[Problem]:
    """Yield one split through TensorFlow Datasets, downloading it where it is not there.

    TFDS stores examples in an order of its own, so its ids (`gsm8k-train-tfds-0`) differ from
    those of the official files.

    Raises:
      UserError: the set could be neither found nor downloaded.
    """
    try:
        # Heavy, and only for those who ask for it.
        import tensorflow_datasets as tfds

        examples: Any = tfds.as_numpy(tfds.load("gsm8k", split=split))
    except Exception as e:
        # TFDS fails in many ways without a network; all of them mean the same to the user.
        raise UserError(
            f"gsm8k: not to be had through TFDS ({type(e).__name__}: {e}); download train.jsonl "
            "and test.jsonl of openai/grade-school-math and give their folder with --raw"
        ) from e
    for index, example in enumerate(examples):
        fields = {name: example[name].decode("utf-8") for name in ("question", "answer")}
        row = source.Row(f"tfds gsm8k {split}: record {index + 1}", fields)
        yield _problem(row, f"gsm8k-{split}-tfds-{index}", split)


def _problem(row: source.Row, identity: str, split: str) -> Problem:
    """Build a problem; the solution stays verbatim, the answer loses its commas."""
    solution = row.text("answer")
    _, marker, answer = solution.rpartition(MARKER)
    if not marker:
        raise row.error(f'answer has no "{MARKER}"; wanted "{MARKER} N" at its end')
    number = _ANSWER.fullmatch(answer)
    if number is None:
        raise row.error(f'found {answer.strip()!r} after "{MARKER}", wanted a number')
    return Problem(
        id=identity,
        question=row.text("question"),
        answer=source.decimal_text(number[1].replace(",", "")),
        kind="numeric",
        benchmark="gsm8k",
        split=split,
        solution=solution,
    )
