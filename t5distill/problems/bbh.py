"""BIG-Bench Hard (Suzgun et al. 2022): 27 tasks, each a benchmark `bbh_<task>`. Evaluate only.

Official: one JSON file per task of suzgunmirac/BIG-Bench-Hard, `canary` and `examples` of `input`
and `target`. The files carry a canary: the problems must never enter a training corpus. So they
are read as test problems or not at all, and every problem keeps the canary in `meta`, where a
filter finds it.

Options ("Options:" and lettered lines, or "- Yes" and "- No") leave the question; those of kind
choice become `choices`. Three problems (two of ruin_names, one of movie_recommendation) have
options that the authors' own tool cut at commas, and a target that is no letter: these stay whole,
as kind string with the target's text.
"""

from __future__ import annotations

import pathlib
import re
import string
from collections.abc import Iterator

from t5distill.errors import UserError
from t5distill.problems import source
from t5distill.records import Problem

_CHOICE = (
    "date_understanding disambiguation_qa formal_fallacies geometric_shapes hyperbaton "
    "logical_deduction_five_objects logical_deduction_seven_objects "
    "logical_deduction_three_objects movie_recommendation penguins_in_a_table "
    "reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects"
)
_YES_NO = "boolean_expressions causal_judgement navigate sports_understanding web_of_lies"
_NUMERIC = "multistep_arithmetic_two object_counting"
_STRING = "dyck_languages word_sorting"

TASKS: dict[str, str] = {
    task: kind
    for kind, names in (
        ("choice", _CHOICE),
        ("yes_no", _YES_NO),
        ("numeric", _NUMERIC),
        ("string", _STRING),
    )
    for task in names.split()
}

_OPTIONS = "\nOptions:\n"
_LETTERED = re.compile(r"\(([A-Z])\) (.+)")
_TRUTH = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}


def read(path: pathlib.Path, split: str, *, task: str) -> Iterator[Problem]:
    """Yield the problems of one task's file, ids counted from 0.

    Raises:
      UserError: `split` is not `test`; the file does not fit the task.
    """
    if split != "test":
        raise UserError(
            f"bbh_{task}: BIG-Bench Hard carries a canary and is for evaluation only; it has no "
            f"{split} split here"
        )
    canary = source.json_object(path).text("canary")
    for index, row in enumerate(source.json_array(path, key="examples")):
        question, kind, answer, choices = _taken_apart(row, TASKS[task])
        yield Problem(
            id=f"bbh_{task}-{index}",
            question=question,
            answer=answer,
            kind=kind,
            benchmark=f"bbh_{task}",
            split=split,
            choices=choices,
            meta={"canary": canary},
        )


def _taken_apart(row: source.Row, kind: str) -> tuple[str, str, str, list[str] | None]:
    """Return question, kind, answer and choices of one example."""
    text = row.text("input").strip()
    target = row.text("target").strip()
    question, found, options = text.rpartition(_OPTIONS)
    if not found:
        question, options = text, ""
    if kind == "yes_no":
        if target.casefold() not in _TRUTH:
            raise row.error(f"target is {target!r}, wanted yes, no, true or false")
        return question.strip(), kind, _TRUTH[target.casefold()], None
    if kind == "numeric":
        return text, kind, row.number("target"), None
    if kind == "string":
        return text, kind, target, None
    choices, letter = _choice(row, options, target)
    if letter is None:
        return text, "string", target, None
    return question.strip(), kind, letter, choices


def _choice(row: source.Row, options: str, target: str) -> tuple[list[str], str | None]:
    """Return the option texts and the gold letter, None where the target is no option."""
    lines = [line.strip() for line in options.split("\n") if line.strip()]
    if lines and all(line.startswith("- ") for line in lines):
        texts = [line[2:].strip() for line in lines]
        letters = list(string.ascii_uppercase[: len(texts)])
        golds = dict(zip(texts, letters, strict=True))
    else:
        matches = [_LETTERED.fullmatch(line) for line in lines]
        if not matches or not all(matches):
            raise row.error(f"found the options {lines}, wanted (A), (B), ... on a line each")
        letters = [m[1] for m in matches if m]
        texts = [m[2].strip() for m in matches if m]
        golds = {f"({letter})": letter for letter in letters}
    if letters != list(string.ascii_uppercase[: len(letters)]):
        raise row.error(f"options are lettered {', '.join(letters)}, wanted A, B, C, ...")
    return texts, golds.get(target)
