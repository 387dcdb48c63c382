"""Numbers in words: the answer in one sentence, shares, points and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from t5distill.report.runs import Run

TINY = (
    "This is a tiny run: it shows that the method runs and what it does to a tiny student on these "
    "problems, and nothing of the paper's own students or figures."
)


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points, signed."""
    # -0.04 points are no loss of 0.0.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")


def between(row: Mapping[str, Any]) -> str:
    """Return the interval of a share."""
    return f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"


def points_between(row: Mapping[str, Any]) -> str:
    """Return the interval of a difference."""
    return f"{points(row['low'])} to {points(row['high'])}"


def answer(
    run: Run, accuracy: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the answer to a run's question: a sentence, and the difference that it rests on."""
    main, baseline = run.plan.get("main"), run.plan.get("baseline")
    note = TINY if run.plan.get("tiny") else ""
    if not main or not baseline:
        count, names = len(run.arms), ", ".join(run.benchmarks)
        plural = "" if count == 1 else "s"
        said = f"{count} student{plural} on {names}; no question was asked of them in advance."
        return {"sentence": said, "difference": None, "note": note}
    benchmark = run.benchmarks[0] if run.benchmarks else None
    found = next(
        (
            d
            for d in differences
            if (d["benchmark"], d["arm"], d["against"]) == (benchmark, main, baseline)
        ),
        None,
    )
    if found is not None:
        return {"sentence": _compared(found), "difference": found, "note": note}
    scored = {row["arm"] for row in accuracy if row["benchmark"] == benchmark}
    lack = [
        arm.label for arm in run.arms if arm.name in (main, baseline) and arm.name not in scored
    ]
    why = f"no scores of {' and '.join(lack)} yet" if lack else "no seed and problems in common"
    said = f"Not answered: on {benchmark} there are {why}."
    return {"sentence": said, "difference": None, "note": note}


def _compared(found: Mapping[str, Any]) -> str:
    """Say what main and baseline reach, and whether they differ."""
    count = len(found["seeds"])
    students = "one student each" if count == 1 else f"{count} students each"
    said = (
        f"On {found['n']:,} problems of {found['benchmark']}, {found['label']} reach "
        f"{percent(found['accuracy'])} and {found['against_label']} "
        f"{percent(found['against_accuracy'])}: {points(found['difference'])} points "
        f"(95 % interval {points_between(found)}, {students})"
    )
    if found["shown"]:
        return f"{said}."
    return f"{said}, an interval that includes zero: a difference is not shown."
