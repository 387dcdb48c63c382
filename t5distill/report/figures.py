"""The numbers of a report as plain data; page, JSON and CSV all show these and no others."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from t5distill.evaluate import scoring, statistics
from t5distill.records import OUTCOMES
from t5distill.report import costs, equations, sentences
from t5distill.report.runs import Arm, Results, Run, at, counts, listed, numeric

# The rules beside our own that scores.json counts.
RULES = (
    "strict_match",
    "flexible_extract",
    "calculator_after_decoding",
    "no_marker",
    "truncated",
)
# Of so many students without a plan each is compared with each, of more each with the first.
_EACH_WITH_EACH = 4

_POINT = ("k", "accuracy", "low", "high")

Cells = Mapping[tuple[str, str], list[Results]]


def figures(run: Run) -> dict[str, Any]:
    """Return everything that a report says of one RUN."""
    cells: dict[tuple[str, str], list[Results]] = collections.defaultdict(list)
    for tested in run.tested:
        cells[tested.benchmark, tested.arm].append(tested)
    missing = list(run.missing)
    accuracy = _accuracies(run, cells, missing)
    differences = _differences(run, cells)
    found = costs.students(run.students)
    return {
        "run": run.name,
        **{name: run.plan.get(name, "") for name in ("title", "question", "source", "recipe")},
        "tiny": run.plan.get("tiny", False),
        "benchmarks": run.benchmarks,
        "seeds": run.seeds,
        "main": run.plan.get("main"),
        "baseline": run.plan.get("baseline"),
        "answer": sentences.answer(run, accuracy, differences),
        "accuracy": accuracy,
        "teacher": teachers(run.curation),
        "published": [_published(entry) for entry in run.plan.get("published", [])],
        "differences": differences,
        "sweep": _sweep(run, accuracy),
        "votes": _votes(run, cells),
        "equations": _equations(run, cells),
        "isolation": sorted(
            {str(level) for t in run.tested for level in listed(t.scores.get("isolation"))}
        ),
        "training": costs.curves(run.students),
        "students": found,
        "missing": missing,
        "warnings": costs.warnings(found, {arm.name: arm.label for arm in run.arms}),
    }


def _accuracies(run: Run, cells: Cells, missing: list[str]) -> list[dict[str, Any]]:
    """Return accuracy, outcomes and other rules of every arm on every benchmark."""
    rows = []
    for benchmark, arm in itertools.product(run.benchmarks, run.arms):
        tests = cells.get((benchmark, arm.name), [])
        if not tests:
            continue
        kept, _, values = together(tests)
        if left := [t.seed for t in tests if t not in kept]:
            missing.append(
                f"{arm.label}, {benchmark}: seeds {left} are over other problems than seed "
                f"{kept[0].seed} and are left out"
            )
        estimate, method = interval(values)
        rows.append({
            "benchmark": benchmark,
            "arm": arm.name,
            "label": arm.label,
            "role": arm.role,
            "style": arm.style,
            "x": arm.x,
            "n": int(values.shape[1]),
            "seeds": [t.seed for t in kept],
            **estimate.accuracy(),
            "interval": method,
            "by_seed": [
                {"seed": t.seed, **statistics.wilson(int(row.sum()), len(row)).accuracy()}
                for t, row in zip(kept, values, strict=True)
            ],
            "outcomes": _outcomes(kept),
            **_rules(kept),
        })  # fmt: skip
    return rows


def together(tests: Sequence[Results]) -> tuple[list[Results], list[str], np.ndarray]:
    """Return the students that answered the same problems as the first, ids, and who was right.

    Returns:
      the students, the problems' ids, and 1 or 0, `[students, problems]`.
    """
    right = [
        {str(i): v.outcome == "correct" for i, v in scoring.first_samples(t.verdicts).items()}
        for t in tests
    ]
    ids = sorted(right[0])
    kept = [i for i, found in enumerate(right) if found.keys() == right[0].keys()]
    values = np.array([[right[i][problem] for problem in ids] for i in kept], np.int64)
    return [tests[i] for i in kept], ids, values


def interval(values: np.ndarray) -> tuple[statistics.Interval, str]:
    """Return the accuracy of one or several students with its interval, and how it was found.

    Args:
      values: who was right, `[students, problems]`.
    """
    students, problems = values.shape
    if students == 1:
        return statistics.wilson(int(values.sum()), problems), "Wilson, one student"
    if problems < 2 or values.min() == values.max():
        # Where all are right, or none, there is no variance to read an interval from.
        found = statistics.wilson(int(values[0].sum()), problems)
        return found, f"Wilson, {students} students alike"
    found = statistics.over_seeds(values).within(0.0)
    return found, f"over {students} students and {problems} problems"


def _outcomes(tests: Sequence[Results]) -> dict[str, float]:
    """Return the share of each outcome among first samples."""
    counts = collections.Counter(
        v.outcome for t in tests for v in scoring.first_samples(t.verdicts).values()
    )
    return {outcome: counts[outcome] / counts.total() for outcome in OUTCOMES}


def _rules(tests: Sequence[Results]) -> dict[str, float | None]:
    """Return what other rules say, as means over students; of what is executed they say nothing."""
    if any(t.scores.get("executed") == 1 for t in tests):
        return dict.fromkeys(RULES)
    return {rule: _mean(t.scores.get(rule) for t in tests) for rule in RULES}


def _mean(values: Any) -> float | None:
    """Return the mean of what scores.json of several students say, None where one does not."""
    found = [numeric(value) for value in values]
    return None if None in found else float(np.mean(np.array(found, np.float64)))


def _differences(run: Run, cells: Cells) -> list[dict[str, Any]]:
    """Return paired differences on every benchmark, main against baseline first."""
    rows = []
    for benchmark in run.benchmarks:
        present = [arm for arm in run.arms if (benchmark, arm.name) in cells]
        for arm, against in _pairs(run, present):
            sides = cells[benchmark, arm.name], cells[benchmark, against.name]
            if found := difference(*sides):
                names = {"benchmark": benchmark, "arm": arm.name, "against": against.name}
                labels = {"label": arm.label, "against_label": against.label}
                rows.append({**names, **labels, **found})
    return rows


def _pairs(run: Run, present: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Return which arms are compared: each a pair of one arm and the one it is held against."""
    by_name = {arm.name: arm for arm in present}
    main, baseline = (by_name.get(run.plan.get(name) or "") for name in ("main", "baseline"))
    if not run.plan:
        if len(present) <= _EACH_WITH_EACH:
            return [(b, a) for a, b in itertools.combinations(present, 2)]
        return [(arm, present[0]) for arm in present[1:]]
    pairs = [(main, baseline)] if main and baseline else []
    for arm in present:
        twins = [a for a in present if a.role == "answer_only" and a.x == arm.x]
        if arm.role == "ensemble":
            pairs += [(arm, main)] if main else []
        elif arm.role == "answer_only" and arm.x is not None:
            continue
        elif arm.x is not None:
            pairs += [(arm, twin) for twin in twins]
        elif baseline:
            pairs.append((arm, baseline))
    return [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


def difference(one: Sequence[Results], other: Sequence[Results]) -> dict[str, Any] | None:
    """Return the paired difference in accuracy, None where the two sides answered no same problems.

    With several seeds on both sides a pair is a seed, and the interval counts seeds and problems;
    with one it is the paired bootstrap over problems.
    """
    (ones, ids, left), (others, other_ids, right) = together(one), together(other)
    if ids != other_ids:
        return None
    rows = {t.seed: i for i, t in enumerate(others)}
    pairs = [(i, rows[t.seed]) for i, t in enumerate(ones) if t.seed in rows]
    if not pairs:
        return None
    a, b = left[[i for i, _ in pairs]], right[[j for _, j in pairs]]
    if len(pairs) > 1 and len(ids) > 1:
        found, method = statistics.over_seeds(a - b).within(-1.0), "students and problems"
    else:
        found = statistics.paired_bootstrap((a[0] == 1).tolist(), (b[0] == 1).tolist())
        method = "paired bootstrap"
    return {
        "difference": found.estimate,
        "low": found.low,
        "high": found.high,
        "accuracy": float(a.mean()),
        "against_accuracy": float(b.mean()),
        "shown": bool(found.low > 0 or found.high < 0),
        "n": len(ids),
        "seeds": [ones[i].seed for i, _ in pairs],
        "better": int((a > b).sum()),
        "worse": int((a < b).sum()),
        "interval": method,
    }


def teachers(curation: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return of every set of chains which share of the teacher's samples was right."""
    rows = []
    for name, report in curation.items():
        verdicts = counts(report.get("verdicts"))
        n = sum(verdicts.get(outcome, 0) for outcome in OUTCOMES)
        if not n:
            continue
        rows.append({
            "set": name,
            **statistics.wilson(verdicts.get("correct", 0), n).accuracy(),
            "n": n,
            "kept": numeric(report.get("kept")),
            "problems": numeric(report.get("problems")),
            "problems_kept": numeric(report.get("problems_kept")),
            "rejected": counts(report.get("rejected")),
        })  # fmt: skip
    return rows


def _published(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a published number; without a source it is never called verified."""
    source = str(entry.get("source") or "")
    return {
        "label": str(entry.get("label", "")),
        "benchmark": str(entry.get("benchmark", "")),
        "accuracy": numeric(entry.get("accuracy")),
        "source": source or "no source given",
        "verified": entry.get("verified") is True and bool(source),
    }


def _sweep(run: Run, accuracy: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a line for each role over the arms' places, or None where nothing is swept."""
    lines: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for row in accuracy:
        if row["x"] is not None:
            point = {name: row[name] for name in ("x", "arm", "accuracy", "low", "high", "n")}
            lines[row["benchmark"], row["role"]].append(point)
    if not lines:
        return None
    sweep = run.plan.get("sweep")
    return {
        "label": str(at(sweep, "label") or "x"),
        "unit": str(at(sweep, "unit") or ""),
        "log": at(sweep, "log") is True,
        "lines": [
            {"benchmark": b, "role": role, "points": sorted(points, key=lambda p: p["x"])}
            for (b, role), points in lines.items()
        ],
    }


def _votes(run: Run, cells: Cells) -> list[dict[str, Any]]:
    """Return the accuracy of votes of k samples.

    Over several students accuracy is their mean, and the interval reaches from the lowest to the
    highest of theirs.
    """
    rows = []
    for benchmark, arm in itertools.product(run.benchmarks, run.arms):
        points = collections.defaultdict(list)
        tests = cells.get((benchmark, arm.name), [])
        for tested in tests:
            for point in listed(tested.scores.get("vote_curve")):
                if None not in [numeric(at(point, name)) for name in _POINT]:
                    points[point["k"]].append(point)
        curve = [
            {
                "k": k,
                "accuracy": float(np.mean([p["accuracy"] for p in found])),
                "low": min(p["low"] for p in found),
                "high": max(p["high"] for p in found),
            }
            for k, found in sorted(points.items())
            if len(found) == len(tests)
        ]
        if curve:
            names = {"benchmark": benchmark, "arm": arm.name, "label": arm.label}
            rows.append({**names, "seeds": [t.seed for t in tests], "points": curve})
    return rows


def _equations(run: Run, cells: Cells) -> list[dict[str, Any]]:
    rows = []
    pairs = list(itertools.product(run.benchmarks, run.arms))
    for benchmark, arm in tqdm(pairs, "equations", leave=False, disable=None, delay=1.0):
        if found := equations.consistency(cells.get((benchmark, arm.name), [])):
            rows.append({"benchmark": benchmark, "arm": arm.name, "label": arm.label, **found})
    return rows
