"""Chains in files that others publish, which know their problems by row or by id only.

Two forms are read: JSON files with one list of texts, which stand row by row beside a file of
questions; and JSON Lines with an id and a text, joined with that file on the id. Rows find their
problem by the question's words, so that they may come from another copy of the benchmark, split
otherwise and with other ids.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, NamedTuple

from t5distill import places
from t5distill.errors import UserError
from t5distill.places import Path
from t5distill.problems.splitting import normalised
from t5distill.records import Chain, Problem, decoded

# The question of a row, by the first of these fields that it has.
_QUESTION_FIELDS = ("question", "input")


class Imported(NamedTuple):
    """Chains, and how many texts were of none of the problems."""

    chains: list[Chain]
    strangers: int


def read(
    paths: Iterable[Path],
    rows: Path,
    problems: Mapping[str, Problem],
    *,
    teacher: str,
    style: str,
    id_field: str = "id",
    text_field: str = "completion",
) -> Imported:
    """Return the texts of published files as chains.

    Args:
      paths: lists of texts (`.json`), which together are as long as `rows`; or JSON Lines.
      rows: JSON Lines of the questions.
      problems: by id.
      teacher: the name on the chains.
      style: of the chains.
      id_field: what joins JSON Lines with rows.
      text_field: the chain; where it is a list, its texts are samples.

    Raises:
      UserError: a file is not of that form, or the lists are not as long as the rows.
    """
    # "train_CoT_10.json" comes after "train_CoT_9.json", in whatever order a shell named them.
    paths = sorted(map(places.place, paths), key=_natural)
    questions = _lines(rows)
    if all(path.suffix == ".json" for path in paths):
        texts = [[text] for path in paths for text in _list(path)]
        if len(texts) != len(questions):
            raise UserError(
                f"{len(texts)} texts in {len(paths)} files for {len(questions)} rows of {rows}; "
                "wanted as many"
            )
    else:
        texts = _joined(paths, questions, rows, id_field, text_field)
    by_question = _by_question(problems.values())
    samples: collections.Counter[str] = collections.Counter()
    chains, strangers = [], 0
    for row, some in zip(questions, texts, strict=True):
        problem = _problem(row, by_question, rows)
        if problem is None:
            strangers += len(some)
            continue
        for text in some:
            sample = samples[problem.id]
            samples[problem.id] += 1
            chains.append(
                Chain(problem_id=problem.id, style=style, text=text, teacher=teacher, sample=sample)
            )
    return Imported(chains, strangers)


def _natural(path: pathlib.Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines of objects; only a line feed ends a line."""
    rows = []
    with _opened(path) as f:
        for number, line in enumerate(f, start=1):
            try:
                if line.strip():
                    rows.append(decoded(line))
            except (ValueError, RecursionError) as e:
                raise UserError(f"{path}:{number}: not JSON: {e}") from e
            if rows and not isinstance(rows[-1], dict):
                raise UserError(f"{path}:{number}: wanted a JSON object")
    return rows


def _list(path: pathlib.Path) -> list[str]:
    """Read one JSON list of texts."""
    with _opened(path) as f:
        try:
            found = decoded(f.read())
        except (ValueError, RecursionError) as e:
            raise UserError(f"{path}: not JSON: {e}") from e
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise UserError(f"{path}: wanted a JSON list of texts (JSON Lines end in .jsonl)")
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with places.reading(path) as f:
            yield f
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e


def _joined(
    paths: list[pathlib.Path],
    questions: list[dict[str, Any]],
    rows: Path,
    id_field: str,
    text_field: str,
) -> list[list[str]]:
    """Return the texts of each row, found by its id; a row may have none."""
    known = collections.Counter(_id(row, id_field) for row in questions)
    twice = next((name for name, count in known.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{rows}: {known[twice]} rows have {id_field} {twice}, wanted one of each")
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            text = line.get(text_field)
            some = text if isinstance(text, list) else [text]
            texts = [one for one in some if isinstance(one, str)]
            if line.get(id_field) is None or len(texts) < len(some):
                raise UserError(
                    f"{path}:{number}: has {', '.join(line)}; wanted {id_field} (--id-field) and a "
                    f"text in {text_field} (--text-field)"
                )
            found[_id(line, id_field)] += texts
    stranger = next((name for name in found if name not in known), None)
    if stranger is not None:
        raise UserError(f"{paths[0]}: {id_field} {stranger} is in no row of {rows}")
    return [found.get(_id(row, id_field), []) for row in questions]


def _id(line: dict[str, Any], id_field: str) -> str:
    """Return what a line is joined on, as JSON: 7 is not "7"."""
    return json.dumps(line.get(id_field))


def _by_question(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = collections.defaultdict(list)
    for problem in problems:
        found[normalised(problem.question)].append(problem)
    return found


def _problem(
    row: dict[str, Any], by_question: dict[str, list[Problem]], rows: Path
) -> Problem | None:
    """Return the problem that a row asks; of several with one question, the next unused one."""
    question = next((row[name] for name in _QUESTION_FIELDS if name in row), None)
    if not isinstance(question, str):
        raise UserError(f"{rows}: a row has {', '.join(row)}; wanted a question or an input")
    same = by_question.get(normalised(question), [])
    choices = row.get("choices")
    if isinstance(choices, list):
        wanted = sorted(normalised(str(text)) for text in choices)
        fitting = [p for p in same if sorted(map(normalised, p.choices or [])) == wanted]
    else:
        fitting = same
    if not fitting:
        return None
    problem = fitting[0]
    if len(fitting) > 1:
        same.remove(problem)
    return problem
