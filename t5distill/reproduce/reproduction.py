"""One experiment from its problems to its report."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from t5distill.errors import UserError
from t5distill.records import write_json
from t5distill.report.folders import read_object
from t5distill.reproduce import card, chains, small
from t5distill.reproduce.chains import (
    Asked,
    ChainSet,
    chain_sets,
    check_compared,
    is_curated,
    most_samples,
)
from t5distill.reproduce.experiment import SIMULATED, Arm, Experiment
from t5distill.reproduce.options import Options
from t5distill.reproduce.running import Stages, command, exported, shown_only
from t5distill.reproduce.students import Student, digest, is_trained, lengths_of, students


def reproduce(name: str, recipe: str, experiment: Experiment, *, options: Options) -> None:
    """Run what is missing of an experiment and write its report.

    Everything is trained and selected before a test problem is read.

    Args:
      name: the recipe's.
      recipe: its file.
      experiment: what it says.
      options: how to run it.

    Raises:
      UserError: a stage failed, or the folder was begun with other options.
    """
    print(f"\n##### {name}: {experiment.question}")
    sets = chain_sets(experiment, tiny=options.tiny)
    if not options.dry:
        # A mistake in the last stage's command is told before the first stage costs anything.
        with contextlib.redirect_stdout(io.StringIO()):
            _stages(name, recipe, experiment, sets, options._replace(dry=True), rehearsal=True)
        _claim(experiment, sets, options)
    _stages(name, recipe, experiment, sets, options)


def _stages(
    name: str,
    recipe: str,
    experiment: Experiment,
    sets: Sequence[ChainSet],
    options: Options,
    *,
    rehearsal: bool = False,
) -> None:
    """Run all stages, or print their commands and check them; a rehearsal measures nothing."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(exported("T5DISTILL_DATA_DIR", options.data))
        if options.tiny:
            stack.enter_context(exported(small.VARIABLE, small.vocabulary(options)))
        if options.dry:
            stack.enter_context(shown_only())
        stages = Stages(_planned(experiment, sets, options))
        _make_data(experiment, sets, options, stages)
        measured = [] if rehearsal else sets
        trained = _train(experiment, recipe, measured, options, stages)
        results = _test(experiment, trained, options, stages)
        folder = options.work / name
        if not options.dry:
            _write(folder, recipe, experiment, trained, results, options)
        with stages("report"):
            command("report", str(folder))


def _planned(experiment: Experiment, sets: Sequence[ChainSet], options: Options) -> list[str]:
    """Return the kinds of all stages."""
    trained = sum(not arm.combine for arm in experiment.arms) * len(options.seeds)
    rows = sum(len(arm.rows()) for arm in experiment.arms) * len(options.seeds)
    return [
        *["prepare"] * len(chains.to_prepare(experiment, options)),
        *["teacher"] * len(most_samples(sets)),
        *["curate"] * len(sets),
        *["train"] * trained,
        *["test"] * (rows * len(experiment.test_benchmarks())),
        "report",
    ]


def _claim(experiment: Experiment, sets: Sequence[ChainSet], options: Options) -> None:
    """Write down what the folder was begun with; refuse another beginning."""
    begun: dict[str, Any] = {"tiny": options.tiny}
    if options.tiny:
        begun |= {"sizes": list(options.sizes), "seed": options.seeds[0]}
    # A set is named by what is special in its recipe: another recipe's may have the same name.
    now = {
        "sets": {each.set_name: each.made_of() for each in sets},
        "problems": {
            name: repr((options.raw_of(name), chains.prepared_so(experiment, name, options)))
            for name in chains.benchmarks_of(experiment)
        },
    }
    path = options.work / "options.json"
    found = read_object(path) if path.is_file() else {}
    known = {kind: found.pop(kind, {}) for kind in now}
    # What nothing came of may be asked for otherwise.
    if not options.ledger.exists() and not (options.data / "chains").exists():
        known["sets"] = {}
    known["problems"] = {
        name: what
        for name, what in known["problems"].items()
        if (options.data / name / "test.jsonl").is_file()
    }
    for kind, made in now.items():
        for name, what in made.items():
            if known[kind].get(name, what) != what:
                raise _begun(options.work, f"{name} of {known[kind][name]}", f"of {what}")
    if found not in ({}, begun):
        raise _begun(options.work, found, begun)
    options.work.mkdir(parents=True, exist_ok=True)
    write_json(path, {**begun, **{kind: {**known[kind], **now[kind]} for kind in now}})


def _begun(work: pathlib.Path, was: Any, now: Any) -> UserError:
    return UserError(
        f"{work}: begun with {was}, now asked for {now}; wanted the same options, or another "
        "--workdir"
    )


def _make_data(
    experiment: Experiment, sets: Sequence[ChainSet], options: Options, stages: Stages
) -> None:
    """Prepare problems, ask the teachers, curate every set."""
    chains.prepare(experiment, options, stages)
    if options.tiny and not options.dry:
        small.train_vocabulary(options)
    todo = [each for each in sets if not is_curated(each, options.data)]
    for each in sets:
        if each not in todo and not options.dry:
            check_compared(each, experiment.test_benchmarks(), options.data)
    missing = most_samples(todo)
    for asked, samples in most_samples(sets).items():
        if asked not in missing:
            stages.skipped("teacher")
            continue
        at = small.teacher(asked, options) if options.tiny else _as_it_is(asked)
        with stages(f"teacher {asked.name}, {asked.style}", kind="teacher"), at as found:
            chains.generate(found, samples, options)
    for each in sets:
        if each not in todo:
            stages.skipped("curate")
            continue
        with stages(f"curate {each.set_name}", kind="curate"):
            chains.curate(each, options.data, options.ledger)


@contextlib.contextmanager
def _as_it_is(asked: Asked) -> Iterator[Asked]:
    yield asked


def _all_students(
    experiment: Experiment, recipe: str, options: Options, lengths: Any = None
) -> list[dict[str, Student]]:
    """Return the students of each seed, by arm."""
    return [
        students(
            experiment,
            recipe,
            root=options.work / "students",
            seed=seed,
            given=options.given,
            tiny=options.tiny,
            lengths=lengths,
        )
        for seed in options.seeds
    ]


def _train(
    experiment: Experiment,
    recipe: str,
    sets: Sequence[ChainSet],
    options: Options,
    stages: Stages,
) -> list[dict[str, Student]]:
    """Train every student; return those of each seed, by arm."""
    lengths = None
    # A dry run may have no examples to measure.
    if options.tiny and sets and all(is_curated(each, options.data) for each in sets):
        lengths = lengths_of(_all_students(experiment, recipe, options)[0].values())
    trained = _all_students(experiment, recipe, options, lengths)
    seen: set[pathlib.Path] = set()
    for by_arm in trained:
        for student in by_arm.values():
            if is_trained(student) or student.folder in seen:
                stages.skipped("train")
                continue
            seen.add(student.folder)
            with stages(f"train {student.arm.label}, seed {student.seed}", kind="train"):
                command("train", *student.train_arguments())
    return trained


def _test(
    experiment: Experiment, trained: list[dict[str, Student]], options: Options, stages: Stages
) -> dict[str, list[pathlib.Path]]:
    """Decode and score every row on every benchmark; return its folder for each seed."""
    results: dict[str, list[pathlib.Path]] = {}
    for by_arm in trained:
        for arm in experiment.arms:
            for row, label, style in arm.rows():
                out = _folder(experiment, arm, by_arm, style, options)
                for benchmark in experiment.test_benchmarks():
                    if (out / benchmark / "scores.json").is_file():
                        stages.skipped("test")
                        continue
                    with stages(f"test {label} on {benchmark}", kind="test"):
                        if style is None:
                            _combine(experiment, arm, by_arm, out, benchmark, options)
                        else:
                            _ask(arm, by_arm[arm.name], style, benchmark, options)
                results.setdefault(row, []).append(out)
    return results


def _folder(
    experiment: Experiment,
    arm: Arm,
    by_arm: Mapping[str, Student],
    style: str | None,
    options: Options,
) -> pathlib.Path:
    """Return the folder of a row's results."""
    if style is not None:
        return by_arm[arm.name].results(style, arm.decode)
    used = [
        by_arm[other].results(s, experiment.arm(other).decode)
        for other in arm.of
        for s in experiment.arm(other).asked_styles()
    ]
    key = digest([str(path.relative_to(options.work)) for path in used])
    return options.work / "ensembles" / f"{arm.combine}-{key}"


def _ask(arm: Arm, student: Student, style: str, benchmark: str, options: Options) -> None:
    """Have a student answer a benchmark's test problems in a style, and judge it."""
    predictions = _predictions(arm, student, style, benchmark)
    task, out = _task(student, style, benchmark), predictions.parent
    command("infer", *student.infer_arguments(task, out, arm.decode))
    problems = options.data / benchmark / "test.jsonl"
    command(
        "score",
        *("--problems", str(problems), "--predictions", str(predictions), "--out", str(out)),
    )


def _task(student: Student, style: str, benchmark: str) -> str:
    """Return the task that asks a student a benchmark's problems in a style."""
    from t5distill import formats

    asked = formats.style(style)
    own = next((s for s in student.sets if s.style == asked.chains), None)
    if own and own.benchmark == benchmark:
        return own.task(style)
    task = f"{benchmark}_{style}"
    # Demonstrations come from what was learnt.
    return f"{task}_of_{own.set_name}" if own and asked.shows else task


def _predictions(arm: Arm, student: Student, style: str, benchmark: str) -> pathlib.Path:
    """Return the file of a student's answers to a benchmark in a style."""
    out = student.results(style, arm.decode) / benchmark
    return student.predictions(_task(student, style, benchmark), out)


def _combine(
    experiment: Experiment,
    arm: Arm,
    by_arm: Mapping[str, Student],
    out: pathlib.Path,
    benchmark: str,
    options: Options,
) -> None:
    """Make one answer of several arms' predictions."""
    predictions = [
        _predictions(other, by_arm[other.name], style, benchmark)
        for other in map(experiment.arm, arm.of)
        for style in other.asked_styles()
    ]
    command(
        "ensemble",
        *("--problems", str(options.data / benchmark / "test.jsonl"), "--how", str(arm.combine)),
        *("--predictions", *map(str, predictions), "--out", str(out / benchmark)),
    )


def _write(
    folder: pathlib.Path,
    recipe: str,
    experiment: Experiment,
    trained: list[dict[str, Student]],
    results: Mapping[str, list[pathlib.Path]],
    options: Options,
) -> None:
    """Write experiment.json and the students' cards."""
    spend = card.spent(options.ledger)
    for by_arm in trained:
        arms_of: dict[pathlib.Path, list[str]] = {}
        for arm, student in by_arm.items():
            arms_of.setdefault(student.folder, []).append(arm)
        for folder_of, names in arms_of.items():
            student = by_arm[names[0]]
            card.write(
                folder_of,
                arms=names,
                styles=student.arm.style,
                seed=student.seed,
                recipe=folder.name,
                sets=[each.set_name for each in dict.fromkeys(student.sets)],
                benchmark=experiment.benchmark,
                data=options.data,
                spend=spend,
            )
    arms = []
    for arm in experiment.arms:
        used = [arm.name] if not arm.combine else list(arm.of)
        for row, label, style in arm.rows():
            arms.append(
                {
                    "name": row,
                    "label": label,
                    "role": arm.role,
                    "style": style,
                    "x": arm.x,
                    "combined": arm.combine,
                    "students": [
                        [os.path.relpath(by_arm[name].folder, folder) for name in used]
                        for by_arm in trained
                    ],
                    "results": [os.path.relpath(path, folder) for path in results[row]],
                }
            )
    write_json(
        folder / "experiment.json",
        {
            "recipe": folder.name,
            "title": _title(recipe),
            "question": experiment.question,
            "source": experiment.source,
            "tiny": options.tiny,
            "benchmark": experiment.benchmark,
            "tests": list(experiment.test_benchmarks()),
            "seeds": list(options.seeds),
            "data": os.path.relpath(options.data, folder),
            "teacher": SIMULATED if options.tiny else experiment.teacher,
            "arms": arms,
            "baseline": experiment.baseline,
            "main": experiment.main,
            "sweep": experiment.sweep,
            "published": list(experiment.published),
        },
    )


def _title(recipe: str) -> str:
    """Return the first sentence of a recipe's header, which ends where a line is empty."""
    from t5distill import gin_files

    path = gin_files.find(recipe, gin_files.search_roots())
    lines = (line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines())
    return " ".join(itertools.takewhile(bool, lines)).rstrip(".")
