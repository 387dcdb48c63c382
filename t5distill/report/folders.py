"""What a reproduction's folder holds, read into plain data; what is not there yet is said.

RUN/experiment.json     what is compared, and where it lies; paths are relative to RUN, since
                        several experiments may share problems and students
    data                BENCHMARK/SPLIT.jsonl of problems; chains/SET/ of the teacher's chains:
                        kept.jsonl, rejected.jsonl, curation.json
    arms[].students     of each seed the folders of training: card.json, metrics.jsonl
    arms[].results      of each seed the folder of answers: BENCHMARK/ with predictions,
                        verdicts.jsonl, scores.json
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from t5distill import places
from t5distill.errors import UserError
from t5distill.evaluate import scoring
from t5distill.records import (
    SPLITS,
    Chain,
    Prediction,
    Problem,
    decoded,
    from_object,
    read_jsonl,
)
from t5distill.report.runs import Arm, Key, Results, Run, Student, at, listed, numeric

# The id with which a line of chains begins, where it needs no JSON to be read.
_FIRST = re.compile(rb'\{"problem_id": "([^"\\]*)"')


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
      UserError: it is none.
    """
    try:
        with places.reading(path) as f:
            found = decoded(f.read())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not JSON: {e}") from e
    if not isinstance(found, dict):
        raise UserError(f"{path}: found {type(found).__name__}, wanted a JSON object")
    return found


def read_reproduction(folder: pathlib.Path) -> Run:
    """Read a folder that has an experiment.json.

    Raises:
      UserError: a file in it is not what its name says.
    """
    plan = _plan(folder / "experiment.json")
    missing: list[str] = []
    arms = [_arm(entry) for entry in plan["arms"]]
    students: dict[pathlib.Path, Student] = {}
    tested = []
    for arm, entry in zip(arms, plan["arms"], strict=True):
        for k, seed in enumerate(plan["seeds"]):
            # An answer of several students has none of its own, and arms may share one.
            for home in _paths(folder, entry, "students", k) if arm.role != "ensemble" else ():
                if home not in students:
                    students[home] = _student(home, arm.name, seed)
                    if not students[home].card:
                        missing.append(_unfinished(home, arm.label, seed))
            for benchmark in plan["tests"]:
                found: Results | str = "not scored yet"
                for place in _paths(folder, entry, "results", k):
                    found = read_results(
                        place / benchmark, arm=arm.name, seed=seed, benchmark=benchmark
                    )
                if isinstance(found, str):
                    missing.append(f"{arm.label}, seed {seed}, {benchmark}: {found}")
                else:
                    tested.append(found)
    data = folder / plan["data"]
    wanted = {b: {str(v.problem_id) for t in tested if t.benchmark == b for v in t.verdicts}
              for b in plan["tests"]}  # fmt: skip
    problems = {b: find_problems(data / b, ids) for b, ids in wanted.items()}
    for benchmark, ids in wanted.items():
        if count := len(ids - problems[benchmark].keys()):
            missing.append(f"{count} problems of {benchmark} are not in {data / benchmark}")
    of_students = sets(data / "chains", students.values())
    if not any((place / "curation.json").is_file() for place in of_students):
        missing.append(f"no curation.json in {data / 'chains'}: nothing is said of the teacher")
    return Run(
        name=folder.resolve().name,
        plan=plan,
        arms=arms,
        benchmarks=list(plan["tests"]),
        seeds=list(plan["seeds"]),
        students=list(students.values()),
        tested=tested,
        problems=problems,
        curation=read_curation(of_students),
        chains=find_chains(of_students, set().union(*wanted.values())),
        missing=missing,
    )


def _plan(path: pathlib.Path) -> dict[str, Any]:
    """Return experiment.json with every field that is read later, of the right type."""
    plan = read_object(path)
    defaults: dict[str, Any] = {
        "recipe": "", "title": "", "question": "", "source": "", "tiny": False, "benchmark": "",
        "tests": [], "seeds": [], "arms": [], "published": [], "data": "data",
    }  # fmt: skip
    for name, default in defaults.items():
        value = plan.setdefault(name, default)
        if type(value) is not type(default):
            wanted = type(default).__name__
            raise UserError(f"{path}: {name} is {value!r}, wanted a {wanted}")
    for name, kind in (("tests", str), ("seeds", int), ("arms", dict), ("published", dict)):
        if odd := [value for value in plan[name] if type(value) is not kind]:
            raise UserError(f"{path}: {name} holds {odd[0]!r}, wanted {kind.__name__}")
    for entry in plan["published"]:
        value = numeric(entry.get("accuracy"))
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{path}: a published accuracy is {value}, wanted a share from 0 to 1")
    names = [at(arm, "name") for arm in plan["arms"]]
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: arms is {plan['arms']!r}, wanted a list of objects with a name")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UserError(f"{path}: arm {twice[0]!r} stands twice")
    for name in ("baseline", "main"):
        if plan.get(name) not in (*names, None):
            raise UserError(f"{path}: {name} is {plan[name]!r}, wanted one of {', '.join(names)}")
    # That of the recipe comes first, where it is asked.
    plan["tests"].sort(key=lambda name: name != plan["benchmark"])
    if plan["benchmark"] and not plan["tests"]:
        plan["tests"] = [plan["benchmark"]]
    return plan


def _arm(entry: Mapping[str, Any]) -> Arm:
    name, style = entry["name"], entry.get("style")
    role = "ensemble" if entry.get("combined") else str(entry.get("role") or "distilled")
    return Arm(
        name=name,
        label=str(entry.get("label") or name),
        role=role,
        style=style if isinstance(style, str) else None,
        x=numeric(entry.get("x")),
    )


def _paths(folder: pathlib.Path, entry: Mapping[str, Any], what: str, k: int) -> list[pathlib.Path]:
    """Return the folders of an arm's k-th seed: one, or a list of them."""
    of_seeds = entry.get(what)
    found = of_seeds[k] if isinstance(of_seeds, list) and k < len(of_seeds) else []
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
        raise UserError(f"{folder / 'experiment.json'}: {what} of {entry['name']!r}: no path there")
    return [folder / path for path in found]


def sets(root: pathlib.Path, students: Iterable[Student]) -> list[pathlib.Path]:
    """Return the chain sets that the students learnt; all, where no card says which."""
    named = {at(each, "name") for student in students for each in listed(at(student.card, "sets"))}
    found = sorted(path.parent for path in root.glob("*/curation.json"))
    return [path for path in found if path.name in named] or found


def _student(home: pathlib.Path, arm: str, seed: int | None) -> Student:
    """Read a student's card and curve; metrics.jsonl stands in for a card's curve."""
    card = read_object(home / "card.json") if (home / "card.json").is_file() else {}
    curve = at(card, "training", "curve")
    if not isinstance(curve, list):
        curve = read_metrics(home / "metrics.jsonl")
    rows = [row for row in curve if numeric(at(row, "step")) is not None]
    return Student(arm=arm, seed=seed, card=card, curve=rows)


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl; a last line that is still being written is left out."""
    if not path.is_file():
        return []
    rows = []
    with places.reading(path) as f:
        for number, line in enumerate(f, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as e:
                if line.endswith(b"\n"):
                    raise UserError(f"{path}:{number}: not JSON: {e}") from e
    return rows


def _unfinished(home: pathlib.Path, label: str, seed: int) -> str:
    rows = read_metrics(home / "metrics.jsonl")
    if not rows:
        return f"{label}, seed {seed}: not begun ({home} has no card.json)"
    return f"{label}, seed {seed}: not finished (step {at(rows[-1], 'step')}; no card.json)"


def read_results(
    folder: pathlib.Path, *, arm: str, seed: int | None, benchmark: str
) -> Results | str:
    """Read one student's results on one benchmark, or say what there is instead."""
    if not (folder / "scores.json").is_file() or not (folder / "verdicts.jsonl").is_file():
        return "not scored yet"
    verdicts = scoring.read_verdicts(folder / "verdicts.jsonl")
    if not verdicts:
        return "verdicts.jsonl is empty"
    return Results(
        arm=arm,
        seed=seed,
        benchmark=benchmark,
        scores=read_object(folder / "scores.json"),
        verdicts=verdicts,
        predictions=_fitting(folder, {(str(v.problem_id), v.sample or 0) for v in verdicts}),
    )


def _fitting(folder: pathlib.Path, wanted: set[Key]) -> dict[Key, Prediction]:
    """Return the predictions in a folder that its verdicts are on."""
    return {
        (p.problem_id, p.sample): p
        for path in prediction_files(folder)
        for p in scoring.read_predictions(path)
        if (p.problem_id, p.sample) in wanted
    }


def prediction_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a folder that are predictions by their name."""
    others = ("verdicts", "metrics", "kept", "rejected", "negatives", *SPLITS)
    return sorted(f for f in folder.glob("*.jsonl") if f.stem not in others and f.is_file())


def find_problems(folder: pathlib.Path, ids: set[str]) -> dict[str, Problem]:
    """Return those of a benchmark's problems that are asked for."""
    found: dict[str, Problem] = {}
    # Last in the usual order comes first here: the training split is long and seldom meant.
    for split in reversed(SPLITS):
        path = folder / f"{split}.jsonl"
        if len(found) < len(ids) and path.is_file():
            found |= {p.id: p for p in read_jsonl(Problem, path) if p.id in ids}
    return found


def read_curation(sets: Iterable[pathlib.Path]) -> dict[str, dict[str, Any]]:
    """Return the reports of sets of chains by name."""
    paths = [path / "curation.json" for path in sets]
    return {path.parent.name: read_object(path) for path in paths if path.is_file()}


def find_chains(sets: Iterable[pathlib.Path], ids: Iterable[str]) -> dict[str, list[Chain]]:
    """Return the teacher's chains for some problems, kept ones first."""
    wanted, found = set(ids), dict[str, list[Chain]]()
    for name in ("kept", "rejected"):
        for path in [place / f"{name}.jsonl" for place in sets]:
            for chain in _chains(path, wanted) if path.is_file() else ():
                found.setdefault(chain.problem_id, []).append(chain)
    return found


def _chains(path: pathlib.Path, wanted: set[str]) -> Iterator[Chain]:
    """Yield the chains for some problems.

    A set may hold gigabytes of log-probabilities, mostly for other problems: what its first field
    rules out is not parsed.
    """
    with places.reading(path) as f:
        for number, line in enumerate(f, start=1):
            first = _FIRST.match(line)
            if not line.strip() or (first and first[1].decode("utf-8", "replace") not in wanted):
                continue
            try:
                chain = from_object(Chain, decoded(line))
            except (ValueError, RecursionError) as e:
                raise UserError(f"{path}:{number}: not a Chain: {e}") from e
            if chain.problem_id in wanted:
                yield chain
