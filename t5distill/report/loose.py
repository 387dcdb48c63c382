"""Folders of `t5distill score` that no experiment.json describes.

Each one is a student, called by its path; where its last part is the benchmark, by what is before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

from t5distill.errors import UserError
from t5distill.evaluate import scoring
from t5distill.records import Prediction, Problem, data_dir
from t5distill.report import folders
from t5distill.report.runs import Arm, Key, Results, Run, Student


def read_run(path: str) -> Run:
    """Read a RUN of the command line.

    Raises:
      UserError: nothing that a report can be made of lies there.
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        raise UserError(f"{path}: no such folder; wanted a reproduction, or a folder of `score`")
    if (folder / "experiment.json").is_file():
        return folders.read_reproduction(folder)
    homes = sorted(
        found.parent
        for found in folder.rglob("scores.json")
        if (found.parent / "verdicts.jsonl").is_file()
    )
    if not homes:
        raise UserError(
            f"{path}: found neither experiment.json nor scores.json with verdicts.jsonl; wanted a "
            "folder of `t5distill reproduce`, or one below which `t5distill score` wrote"
        )
    return _read_scored(folder, homes)


def _read_scored(folder: pathlib.Path, homes: Sequence[pathlib.Path]) -> Run:
    """Make a comparison of folders with scores."""
    missing: list[str] = []
    tested: list[Results] = []
    students: dict[str, Student] = {}
    problems: dict[str, dict[str, Problem]] = {}
    for home in homes:
        path = folder.resolve().name if home == folder else str(home.relative_to(folder))
        found = folders.read_results(home, arm=path, seed=None, benchmark="")
        if isinstance(found, str):
            missing.append(f"{path}: {found}")
            continue
        ids = {str(v.problem_id) for v in found.verdicts}
        known = _problems(folder, ids)
        if known is None:
            missing.append(f"{path}: its problems were found neither in {folder / 'data'} nor in "
                           f"{data_dir()}: set T5DISTILL_DATA_DIR")  # fmt: skip
        benchmark = known[0] if known else _unnamed(ids)
        problems.setdefault(benchmark, {}).update(known[1] if known else {})
        if not found.predictions:
            predictions = _predictions_near(home, found)
            if isinstance(predictions, str):
                missing.append(f"{path}: {predictions}")
            else:
                found = dataclasses.replace(found, predictions=predictions)
        # A student's folder often has one of scores for each benchmark.
        parent = path.removesuffix(f"/{benchmark}")
        taken = any((t.arm, t.benchmark) == (parent, benchmark) for t in tested)
        name = path if taken else parent
        tested.append(dataclasses.replace(found, arm=name, benchmark=benchmark))
        students.setdefault(name, _student(home, name))
    if not tested:
        raise UserError(f"{folder}: {missing[0]}; wanted verdicts of `t5distill score`")
    sets = folders.sets(folder / "data" / "chains", students.values())
    return Run(
        name=folder.resolve().name,
        plan={},
        arms=list({t.arm: _arm(t) for t in tested}.values()),
        benchmarks=list(dict.fromkeys(t.benchmark for t in tested)),
        seeds=[],
        students=list(students.values()),
        tested=tested,
        problems=problems,
        curation=folders.read_curation(sets),
        chains=folders.find_chains(sets, {i for some in problems.values() for i in some}),
        missing=missing,
    )


def _arm(tested: Results) -> Arm:
    styles = {p.style for p in tested.predictions.values()}
    style = styles.pop() if len(styles) == 1 else None
    return Arm(name=tested.arm, label=tested.arm, role="", style=style)


def _student(home: pathlib.Path, name: str) -> Student:
    """Look for the training run that a folder of scores lies in."""
    for folder in (home, home.parent):
        if curve := folders.read_metrics(folder / "metrics.jsonl"):
            return Student(arm=name, seed=None, card={}, curve=curve)
    return Student(arm=name, seed=None, card={}, curve=[])


def _problems(folder: pathlib.Path, ids: set[str]) -> tuple[str, dict[str, Problem]] | None:
    """Find the benchmark that holds all of some ids, below RUN/data or the data directory."""
    for data in (folder / "data", data_dir()):
        for path in sorted(data.glob("*/")):
            found = folders.find_problems(path, ids)
            if len(found) == len(ids):
                return next(iter(found.values())).benchmark, found
    return None


def _unnamed(ids: set[str]) -> str:
    """Return a name for problems of which only the ids are known: equal sets, equal names."""
    stem = next(iter(sorted(ids))).split("-")[0]
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
    return f"{stem} ({len(ids)} problems, {digest[:6]})"


def _predictions_near(home: pathlib.Path, found: Results) -> dict[Key, Prediction] | str:
    """Look for the predictions of a folder of scores in its parent and beside it.

    Two files may be on the same problems; which of them was scored nobody can say then.
    """
    wanted = {(str(v.problem_id), v.sample or 0) for v in found.verdicts if v.outcome != "missing"}
    near = [home.parent, *sorted(f for f in home.parent.iterdir() if f.is_dir() and f != home)]
    fitting = []
    for path in (path for folder in near for path in folders.prediction_files(folder)):
        try:
            predictions = {(p.problem_id, p.sample): p for p in scoring.read_predictions(path)}
        except UserError:
            continue  # another stage's file
        if predictions.keys() == wanted:
            fitting.append(predictions)
    if len(fitting) == 1:
        return fitting[0]
    many = f"{len(fitting)} files near it fit" if fitting else "no file near it fits"
    return f"its predictions are not shown: {many}; put them beside scores.json"


def distinct(runs: Sequence[Run]) -> list[Run]:
    """Return runs whose names differ: folders of equal names are numbered."""
    names = [run.name for run in runs]
    return [
        dataclasses.replace(run, name=f"{run.name} ({names[: i + 1].count(run.name)})")
        if names.count(run.name) > 1
        else run
        for i, run in enumerate(runs)
    ]
