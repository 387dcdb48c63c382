"""What several runs say together: accuracy by the size of the student and of its training set."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

SIZES = {"parameters": "parameters of the student", "examples": "training examples seen"}

Row = Mapping[str, Any]


def across(reports: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a curve by each size in which runs differ, in the form of a report's `sweep`.

    Of every run its main student and its baseline count, and only benchmarks that several share.
    """
    curves = []
    for size, label in SIZES.items():
        lines: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
        for report in reports:
            for row in report["accuracy"]:
                x = _mean(report, row["arm"], size)
                if row["arm"] in (report["main"], report["baseline"]) and x is not None:
                    names = {"x": x, "run": report["run"], "arm": row["arm"]}
                    ends = {name: row[name] for name in ("accuracy", "low", "high", "n")}
                    lines[row["benchmark"], row["role"]].append({**names, **ends})
        kept = [
            {"benchmark": b, "role": role, "points": sorted(points, key=lambda p: p["x"])}
            for (b, role), points in lines.items()
            if len({point["x"] for point in points}) > 1
        ]
        if kept:
            curves.append({"label": label, "unit": "", "log": True, "lines": kept})
    return curves


def _mean(report: Row, arm: str, size: str) -> float | None:
    """Return the mean size of an arm's students."""
    found = [s[size] for s in report["students"] if s["arm"] == arm and s[size] is not None]
    return sum(found) / len(found) if found else None
