"""The numbers of a report as lines of CSV, one number a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from t5distill.report.figures import RULES

COLUMNS = ("run", "table", "benchmark", "arm", "seed", "measure", "at", "value", "low", "high",
           "n", "note")  # fmt: skip
# Of a student's card these are no numbers.
_WORDS = ("arm", "seed", "sets", "isolation", "device", "commit", "command", "versions", "config",
          "selected_by", "selected_on", "chosen_before_test")  # fmt: skip

Line = Mapping[str, Any]


def to_csv(reports: Iterable[Mapping[str, Any]]) -> str:
    """Return the numbers of several runs; what a line has no value for is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for report in reports:
        for line in _lines(report):
            values = {"run": report["run"], **line}
            writer.writerow([_harmless(values.get(column)) for column in COLUMNS])
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def _lines(report: Mapping[str, Any]) -> Iterator[Line]:
    yield from _results(report["accuracy"])
    for row in report["teacher"]:
        yield {"table": "teacher", "arm": row["set"], "measure": "accuracy", **_ends(row),
               "note": "share of the teacher's samples on training problems"}  # fmt: skip
    for row in report["published"]:
        tag = "verified" if row["verified"] else "unverified"
        yield {"table": "published", "benchmark": row["benchmark"], "arm": row["label"],
               "measure": "accuracy", "value": row["accuracy"],
               "note": f"{tag}: {row['source']}"}  # fmt: skip
    for row in report["differences"]:
        yield {"table": "difference", **_of(row), "measure": "accuracy", "at": row["against"],
               **_ends(row, "difference"), "note": row["interval"]}  # fmt: skip
    for line in (report["sweep"] or {"lines": []})["lines"]:
        for point in line["points"]:
            yield {"table": "sweep", "benchmark": line["benchmark"], "arm": point["arm"],
                   "measure": "accuracy", "at": point["x"], **_ends(point),
                   "note": line["role"]}  # fmt: skip
    for row in report["votes"]:
        for point in row["points"]:
            yield {"table": "vote", **_of(row), "measure": "accuracy", "at": point["k"],
                   **_ends(point)}  # fmt: skip
    for row in report["equations"]:
        yield {"table": "equations", **_of(row), "measure": "true", "value": row["true"],
               "n": row["equations"]}  # fmt: skip
        for place in row["by_place"]:
            yield {"table": "equations", **_of(row), "measure": "true", "at": place["place"],
                   "value": place["true"], "n": place["n"]}  # fmt: skip
        for name in ("all_true_of_correct", "all_true_of_wrong"):
            if name in row:
                yield {"table": "equations", **_of(row), "measure": name,
                       "value": row[name]["share"], "n": row[name]["n"]}  # fmt: skip
    for row in report["training"]:
        for step, value in row["points"]:
            yield {"table": "training", "arm": row["arm"], "seed": row["seed"],
                   "measure": row["measure"], "at": step, "value": value}  # fmt: skip
    yield from _costs(report["students"])


def _results(rows: Sequence[Line]) -> Iterator[Line]:
    for row in rows:
        yield {"table": "accuracy", **_of(row), "measure": "accuracy", **_ends(row),
               "note": row["interval"]}  # fmt: skip
        for seed in row["by_seed"]:
            yield {"table": "accuracy", **_of(row), "seed": seed["seed"], "measure": "accuracy",
                   **_ends(seed), "n": row["n"]}  # fmt: skip
        for outcome, share in row["outcomes"].items():
            yield {"table": "outcome", **_of(row), "measure": outcome, "value": share,
                   "n": row["n"]}  # fmt: skip
        for rule in RULES:
            if row[rule] is not None:
                yield {"table": "rule", **_of(row), "measure": rule, "value": row[rule],
                       "n": row["n"]}  # fmt: skip


def _costs(students: Sequence[Line]) -> Iterator[Line]:
    for row in students:
        for measure, value in row.items():
            if measure not in _WORDS and value is not None:
                yield {"table": "cost", "arm": row["arm"], "seed": row["seed"],
                       "measure": measure, "value": value}  # fmt: skip


def _of(row: Line) -> Line:
    return {"benchmark": row["benchmark"], "arm": row["arm"]}


def _ends(row: Line, name: str = "accuracy") -> Line:
    found = {"value": row[name], "low": row["low"], "high": row["high"]}
    return {**found, "n": row["n"]} if "n" in row else found
