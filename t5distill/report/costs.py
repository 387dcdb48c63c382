"""What students cost and how they learnt, from their cards and metrics."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from t5distill.report.runs import Student, at, counts, listed, numeric

MEASURES = ("loss", "validation_loss", "validation_accuracy")
# A curve of more points looks the same and weighs more.
_POINTS = 200


def curves(students: Sequence[Student]) -> list[dict[str, Any]]:
    """Return of each student and measure the points `[step, value]`."""
    rows = []
    for student in students:
        for measure in MEASURES:
            points = [
                [row["step"], row[measure]]
                for row in student.curve
                if numeric(row.get(measure)) is not None
            ]
            if points:
                names = {"arm": student.arm, "seed": student.seed, "measure": measure}
                rows.append({**names, "points": thinned(points)})
    return rows


def thinned(points: list[Any]) -> list[Any]:
    """Return at most about `_POINTS` of some points, first and last among them."""
    stride = max(1, len(points) // _POINTS)
    kept = points[::stride]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def students(found: Sequence[Student]) -> list[dict[str, Any]]:
    """Return what each finished student's card says of its cost and its choice."""
    rows = []
    for student in found:
        card = student.card
        if not card:
            continue
        numbers = {
            "parameters": at(card, "parameters"),
            "steps": at(card, "training", "steps"),
            "examples": sum(counts(at(card, "mixture")).values()) or None,
            "target_tokens": at(card, "training", "target_tokens"),
            "training_s": at(card, "training", "seconds"),
            "wall_s": _seconds_between(at(card, "started"), at(card, "ended")),
            "peak_memory_mib": at(card, "peak_memory_mib"),
            "processes": at(card, "processes"),
            "devices": at(card, "hardware", "count"),
            "teacher_requests": at(card, "spend", "requests"),
            "teacher_tokens": at(card, "spend", "tokens"),
            "teacher_money": at(card, "spend", "money"),
            "selected_step": at(card, "selection", "step"),
        }
        rows.append({
            "arm": student.arm,
            "seed": student.seed,
            **{name: numeric(value) for name, value in numbers.items()},
            "device": _text(at(card, "hardware", "kind")),
            "commit": _text(at(card, "commit")),
            "command": shlex.join(map(str, listed(at(card, "command")))),
            "versions": _pairs(at(card, "versions")),
            "config": _text(at(card, "config")) or "",
            "selected_by": _text(at(card, "selection", "by")),
            "selected_on": _text(at(card, "selection", "split")),
            "chosen_before_test": _chosen_first(card),
            "sets": [_set(entry) for entry in listed(at(card, "sets"))],
            "mixture": counts(at(card, "mixture")),
            "isolation": [str(level) for level in listed(at(card, "isolation"))],
        })  # fmt: skip
    return rows


def warnings(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Return what makes a student's score worth less than it seems."""
    said = []
    for row in rows:
        name = f"{labels.get(row['arm'], row['arm'])}, seed {row['seed']}"
        if row["selected_on"] == "test":
            said.append(f"{name}: its checkpoint was chosen on the test split")
        if row["chosen_before_test"] is False:
            said.append(f"{name}: the test was read before its checkpoint was chosen")
    return said


def _pairs(value: Any) -> str:
    found = value.items() if isinstance(value, Mapping) else ()
    return ", ".join(f"{name} {version}" for name, version in found)


def _set(entry: Any) -> dict[str, Any]:
    return {
        "name": _text(at(entry, "name")),
        "examples": numeric(at(entry, "examples")),
        "sha256": _text(at(entry, "sha256")),
    }


def _chosen_first(card: Any) -> bool | None:
    """Tell whether the checkpoint was chosen before any test problem was read."""
    selected = _moment(at(card, "selection", "selected"))
    reads = [_moment(at(test, "read")) for test in listed(at(card, "tests"))]
    known = [read for read in reads if read is not None]
    if selected is None or not known or len(known) < len(reads):
        return None
    return selected <= min(known)


def _seconds_between(start: Any, end: Any) -> float | None:
    times = _moment(start), _moment(end)
    return (times[1] - times[0]).total_seconds() if times[0] and times[1] else None


def _moment(text: Any) -> datetime.datetime | None:
    """Return an ISO time; one without a zone is taken for UTC, so that any two compare."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
