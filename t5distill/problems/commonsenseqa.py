"""CommonsenseQA (Talmor et al. 2019): everyday questions with five options.

Two forms are read, both JSON Lines: the official one (`answerKey`, `id`, and `question` with `stem`
and `choices` of `label` and `text`), and that of the published PaLM rationales of "Distilling
Step-by-Step" (`question`, `choices`, and the option's text as `answer`). The test answers are not
public, so the development file (1,221) becomes the test split.
"""

from __future__ import annotations

import pathlib
import string
from collections.abc import Iterator
from typing import Any

from t5distill.problems import source
from t5distill.records import Problem


def read(path: pathlib.Path, split: str) -> Iterator[Problem]:
    """Yield the problems of one file."""
    for row in source.json_lines(path):
        official = "answerKey" in row.fields or isinstance(row.fields.get("question"), dict)
        question, choices, index, meta = _official(row) if official else _palm(row)
        yield Problem(
            id=f"commonsenseqa-{row.text('id')}",
            question=question.strip(),
            answer=string.ascii_uppercase[index],
            kind="choice",
            benchmark="commonsenseqa",
            split=split,
            choices=choices,
            meta=meta,
        )


def _official(row: source.Row) -> tuple[str, list[str], int, dict[str, Any]]:
    """Take apart the official form."""
    if "answerKey" not in row.fields:
        raise row.error("no answerKey: the official test file has no answers; give the dev file")
    inner = row.get("question")
    if not isinstance(inner, dict) or not isinstance(inner.get("choices"), list):
        raise row.error("question is no object with stem and choices")
    question = source.Row(f"{row.place}: question", inner)
    options = inner["choices"]
    if not all(isinstance(option, dict) for option in options):
        raise question.error("choices is no list of objects with label and text")
    rows = [source.Row(f"{question.place}: choice {i + 1}", x) for i, x in enumerate(options)]
    labels = [option.text("label") for option in rows]
    if labels != list(string.ascii_uppercase[: len(labels)]):
        raise question.error(f"choices are labelled {', '.join(labels)}, wanted A, B, C, ...")
    if row.text("answerKey") not in labels:
        raise row.error(f"answerKey is {row.get('answerKey')!r}, wanted one of {', '.join(labels)}")
    texts = [option.text("text") for option in rows]
    index = labels.index(row.text("answerKey"))
    meta = {"concept": inner["question_concept"]} if "question_concept" in inner else {}
    return question.text("stem"), texts, index, {**meta, **_same_text(texts, index)}


def _palm(row: source.Row) -> tuple[str, list[str], int, dict[str, Any]]:
    """Take apart the form that goes with the PaLM rationales, which names no letter."""
    texts = row.texts("choices")
    answer = row.text("answer")
    if answer not in texts or len(texts) > len(string.ascii_uppercase):
        raise row.error(f"answer is {answer!r}, wanted one of the choices {texts}")
    index = texts.index(answer)
    return row.text("question"), texts, index, _same_text(texts, index)


def _same_text(texts: list[str], index: int) -> dict[str, Any]:
    """Return the letters of options that read like the gold one, where there are several."""
    letters = [string.ascii_uppercase[i] for i, text in enumerate(texts) if text == texts[index]]
    return {"same_text": letters} if len(letters) > 1 else {}
