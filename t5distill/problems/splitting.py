"""Seeded, disjoint splits: duplicates stay together, overlap is refused.

Two problems are the same question where their normalised question texts are equal, and for
problems with options their sets of options too ("Which statement is sarcastic?" alone asks
nothing). A group of such problems always goes into one split, whole, even where answers disagree.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence

from t5distill.errors import UserError
from t5distill.records import SPLITS, Problem

_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_TOKEN = re.compile(r"\w+|[^\w\s.,;:!?'\"‘’“”]")

Group = list[Problem]


def normalised(question: str) -> str:
    """Return a text without what does not matter when questions are compared.

    Case, spacing, Unicode form and sentence punctuation do not count; words, digits and signs do.
    """
    question = _INVISIBLE.sub("", unicodedata.normalize("NFKC", question))
    return " ".join(_TOKEN.findall(question.casefold()))


def identity(problem: Problem) -> str:
    """Return the text that two problems share where they are the same question."""
    options = sorted(map(normalised, problem.choices or []))
    return "\n".join([normalised(problem.question), *options])


def groups(problems: Iterable[Problem]) -> list[Group]:
    """Return the problems grouped by question, in order of first appearance."""
    found: dict[str, Group] = {}
    for problem in problems:
        found.setdefault(identity(problem), []).append(problem)
    return list(found.values())


def carve(problems: Sequence[Problem], count: int, *, key: str) -> tuple[Group, Group]:
    """Take `count` problems at random, whole groups only; return them and the rest.

    Both keep the order of `problems`. A group that no longer fits stays in the rest, so that the
    count is met exactly wherever single problems are left.

    Args:
      problems: what to choose from.
      count: how many to take.
      key: decides the choice: the same key and problems give the same choice.
    """
    order = groups(problems)
    random.Random(key).shuffle(order)
    taken: set[int] = set()
    for group in order:
        if len(taken) + len(group) <= count:
            taken.update(map(id, group))
    chosen = [p for p in problems if id(p) in taken]
    return chosen, [p for p in problems if id(p) not in taken]


def fold(problems: Sequence[Problem], folds: int, index: int, *, key: str) -> tuple[Group, Group]:
    """Return fold `index` of `folds` (from 0) and the rest; over all indices they partition.

    Fold sizes differ by no more than the largest group of duplicates.
    """
    order = groups(problems)
    random.Random(key).shuffle(order)
    sizes = [0] * folds
    chosen: set[int] = set()
    for group in order:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(group)
        if smallest == index:
            chosen.update(map(id, group))
    picked = [p for p in problems if id(p) in chosen]
    return picked, [p for p in problems if id(p) not in chosen]


def share(total: int, fraction: float) -> int:
    """Return the nearest whole number to a fraction of `total`, halves up."""
    return math.floor(total * fraction + 0.5)


def drop_overlap(
    splits: dict[str, Group], *, benchmark: str, allow: bool
) -> tuple[dict[str, Group], int]:
    """Return official splits without overlap, and how many problems of train that has cost.

    Args:
      splits: problems by official split.
      benchmark: for the message.
      allow: drop the training copy of questions that another split has too, instead of refusing.

    Raises:
      UserError: train overlaps with another split and `allow` is not set; or validation and test
        overlap, of which neither may lose problems.
    """
    seen = {name: {identity(p) for p in group} for name, group in splits.items()}
    held = seen.get("validation", set()) & seen.get("test", set())
    if held:
        raise UserError(
            f"{benchmark}: the official validation and test files share {len(held)} questions, "
            f"e.g. {min(held)!r}; mend the files"
        )
    evaluated = seen.get("validation", set()) | seen.get("test", set())
    train = splits.get("train", [])
    shared = [p for p in train if identity(p) in evaluated]
    if shared and not allow:
        raise UserError(
            f"{benchmark}: {len(shared)} questions of the official training file stand in a "
            f"held-out file too, e.g. {shared[0].id}: {shared[0].question[:80]!r}; "
            "--allow-overlap drops the training copies"
        )
    dropped = set(map(id, shared))
    kept = {**splits, "train": [p for p in train if id(p) not in dropped]}
    return {name: group for name, group in kept.items() if group}, len(shared)


def label(splits: dict[str, Group]) -> dict[str, Group]:
    """Return the splits in their usual order, every problem with the split it is in."""
    return {
        name: [p if p.split == name else dataclasses.replace(p, split=name) for p in splits[name]]
        for name in SPLITS
        if splits.get(name)
    }


def refuse_overlap(splits: dict[str, Group], *, benchmark: str) -> None:
    """Check what is about to be written: no question in two splits, no id twice.

    Raises:
      UserError: there is one; the message names it.
    """
    where: dict[str, tuple[str, str]] = {}
    ids: set[str] = set()
    for name, group in splits.items():
        for problem in group:
            if problem.id in ids:
                raise UserError(f"{benchmark}: the id {problem.id} occurs twice; mend the files")
            ids.add(problem.id)
            text = identity(problem)
            split, other = where.setdefault(text, (name, problem.id))
            if split != name:
                raise UserError(
                    f"{benchmark}: {other} ({split}) and {problem.id} ({name}) share a question"
                )
