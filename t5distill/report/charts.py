"""The charts of a report, from its numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t5distill.records import OUTCOMES
from t5distill.report import svg
from t5distill.report.markup import Markup, tag
from t5distill.report.sentences import between, percent, points, points_between

# The colour of each role; arms of other roles take the rest in turn.
_ROLES = {"untrained": 7, "answer_only": 1, "teacher": 2}
_OTHERS = (0, 3, 4, 5, 6)
# What the first screen shows where many students are swept.
_FEW = 8
_MEASURES = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
}

Row = Mapping[str, Any]


def colours(report: Row) -> dict[str, int]:
    """Return the number of each arm's colour, the same in every chart."""
    found: dict[str, int] = {}
    taken = 0
    for row in report["accuracy"]:
        if row["arm"] in found:
            continue
        if row["role"] in _ROLES:
            found[row["arm"]] = _ROLES[row["role"]]
        elif row["x"] is not None:
            found[row["arm"]] = _OTHERS[0]
        else:
            found[row["arm"]] = _OTHERS[taken % len(_OTHERS)]
            taken += 1
    return found


def first(report: Row) -> Markup:
    """Return the chart of the first screen: student before, answer-only, distilled, teacher."""
    benchmark = report["benchmarks"][0] if report["benchmarks"] else ""
    drawn = few(report)
    rows = [r for r in report["accuracy"] if r["benchmark"] == benchmark and r["arm"] in drawn]
    sets = _own_sets(report)
    teachers = [row for row in report["teacher"] if not sets or row["set"] in sets]
    return accuracies(rows, colours(report), teachers=teachers, title=f"Accuracy on {benchmark}")


def few(report: Row) -> set[str]:
    """Return the arms that are drawn where many would hide each other."""
    arms = {row["arm"]: row["role"] for row in report["accuracy"]}
    if len(arms) <= _FEW or not report["main"]:
        return set(arms)
    named = {report["main"], report["baseline"]}
    return {arm for arm, role in arms.items() if role in ("untrained", "ensemble") or arm in named}


def _own_sets(report: Row) -> set[str]:
    """Return the sets that the main student learnt from."""
    own = (s for s in report["students"] if s["arm"] == report["main"])
    return {entry["name"] for student in own for entry in student["sets"]}


def accuracies(
    rows: Sequence[Row], colour: Mapping[str, int], *, title: str, teachers: Sequence[Row] = ()
) -> Markup:
    """Return bars with intervals, teachers last."""
    if not rows and not teachers:
        return Markup("")
    items = [_bar(r, r["label"], colour[r["arm"]], _dots(r)) for r in rows]
    for row, own in zip(teachers, _told_apart([row["set"] for row in teachers]), strict=True):
        label = f"teacher{f' ({own})' if own else ''}, on training problems"
        items.append(_bar(row, label, _ROLES["teacher"], ()))
    several = any(len(row["by_seed"]) > 1 for row in rows)
    says = "Thin lines are 95 % intervals" + ("; dots are single students (seeds)." if several
                                              else ".")  # fmt: skip
    return tag(
        "figure",
        tag("figcaption", title),
        tag("ul", *items, class_="rows"),
        svg.scale(),
        tag("p", says, class_="note"),
    )


def _told_apart(names: Sequence[str]) -> list[str]:
    """Return of each name of a set the words that not all begin or end with; of one name none."""
    words = [name.split("_") for name in names]
    if len(words) < 2:
        return [""] * len(words)
    first, last = _alike(words), _alike([w[::-1] for w in words])
    if any(len(w) <= first + last for w in words):
        # One is another with more behind it: what that is goes with the word before.
        first, last = max(0, first - 1), 0
    return [" ".join(w[first : len(w) - last]) for w in words]


def _alike(words: Sequence[Sequence[str]]) -> int:
    """Return with how many equal words all begin."""
    columns = zip(*words, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda each: len(set(each)) == 1, columns))


def _dots(row: Row) -> list[float]:
    return [s["accuracy"] for s in row["by_seed"]] if len(row["by_seed"]) > 1 else []


def _bar(row: Row, label: str, colour: int, each: Sequence[float]) -> Markup:
    value = f"{percent(row['accuracy'])}"
    ends = f" ({between(row)})"
    says = f"{label}: {value}, 95 % interval {between(row)}"
    bar = svg.interval(
        row["accuracy"], (row["low"], row["high"]), colour=colour, says=says, each=each
    )
    figures = tag("span", tag("strong", value), ends, class_="value")
    return tag("li", tag("div", tag("bdi", label), " ", figures, class_="label"), bar)


def differences(rows: Sequence[Row], colour: Mapping[str, int], *, title: str) -> Markup:
    """Return paired differences as bars from zero."""
    if not rows:
        return Markup("")
    low = min(0.0, *(row["low"] for row in rows))
    high = max(0.0, *(row["high"] for row in rows))
    room = max(0.02, 0.06 * (high - low))
    span = (low - room, high + room)
    items = []
    for row in rows:
        shown = "" if row["shown"] else " – not shown"
        label = f"{row['label']} against {row['against_label']}"
        value = f"{points(row['difference'])} points"
        bar = svg.interval(
            row["difference"],
            (row["low"], row["high"]),
            colour=colour[row["arm"]],
            says=f"{label}: {value}, 95 % interval {points_between(row)}{shown}",
            span=span,
        )
        figures = tag(
            "span", tag("strong", value), f" ({points_between(row)}){shown}", class_="value"
        )
        items.append(tag("li", tag("div", tag("bdi", label), " ", figures, class_="label"), bar))
    scale = svg.scale(span, unit="")
    return tag("figure", tag("figcaption", title), tag("ul", *items, class_="rows"), scale)


def sweep(found: Row, benchmark: str) -> Markup:
    """Return accuracy over what was varied, a line for each role."""
    lines = [
        svg.Line(
            name=line["role"].replace("_", " "),
            colour=_ROLES.get(line["role"], 0),
            points=_points(line["points"], "x"),
            dash=_ROLES.get(line["role"], 0),
        )
        for line in found["lines"]
        if line["benchmark"] == benchmark
    ]
    if not lines:
        return Markup("")
    unit = f" ({found['unit']})" if found["unit"] else ""
    title = f"Accuracy on {benchmark} by {found['label']}"
    return svg.chart(lines, title=title, x_label=f"{found['label']}{unit}", log=found["log"])


def votes(report: Row, benchmark: str) -> Markup:
    """Return accuracy over the number of samples that vote."""
    known, drawn = colours(report), few(report)
    lines = [
        svg.Line(name=row["label"], colour=known[row["arm"]], points=_points(row["points"], "k"))
        for row in report["votes"]
        if row["benchmark"] == benchmark and row["arm"] in drawn
    ]
    if not lines:
        return Markup("")
    title = f"Majority vote on {benchmark} by samples"
    return svg.chart(lines, title=title, x_label="samples that vote", log=True)


def _points(points: Iterable[Row], name: str) -> list[svg.Point]:
    return [svg.Point(x=p[name], y=p["accuracy"], low=p["low"], high=p["high"]) for p in points]


def outcomes(rows: Sequence[Row], *, title: str) -> Markup:
    """Return what became of the answers, a bar of parts for each arm."""
    items = []
    for row in rows:
        parts = [(o, row["outcomes"][o], i) for i, o in enumerate(OUTCOMES) if row["outcomes"][o]]
        says = f"{row['label']}: " + ", ".join(f"{o} {percent(share)}" for o, share, _ in parts)
        label = tag("div", tag("bdi", row["label"]), class_="label")
        items.append(tag("li", label, svg.stacked(parts, says=says)))
    present = [i for i, o in enumerate(OUTCOMES) if any(row["outcomes"][o] for row in rows)]
    keys = [
        tag("li", tag("span", class_=f"key out{i}"), OUTCOMES[i].replace("_", " ")) for i in present
    ]
    return tag(
        "figure",
        tag("figcaption", title),
        tag("ul", *items, class_="rows"),
        tag("ul", *keys, class_="legend"),
    )


def equations(report: Row, benchmark: str) -> Markup:
    """Return how many equations are true at each place of a chain."""
    known, drawn = colours(report), few(report)
    lines = [
        svg.Line(
            name=row["label"],
            colour=known[row["arm"]],
            points=[svg.Point(x=p["place"], y=p["true"]) for p in row["by_place"]],
        )
        for row in report["equations"]
        if row["benchmark"] == benchmark and row["arm"] in drawn
    ]
    if not lines:
        return Markup("")
    title = f"True equations on {benchmark} by their place in the chain"
    return svg.chart(lines, title=title, x_label="equation of the chain")


def training(report: Row) -> list[Markup]:
    """Return a chart for each measure of the training runs."""
    labels = {row["arm"]: row["label"] for row in report["accuracy"]}
    known, drawn_arms = colours(report), few(report)
    charts = []
    for measure, title in _MEASURES.items():
        rows = [
            row
            for row in report["training"]
            # A student that is still in training has no accuracy yet.
            if row["measure"] == measure and (row["arm"] in drawn_arms or row["arm"] not in known)
        ]
        if not rows:
            continue
        seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
        lines = [
            svg.Line(
                name=labels.get(row["arm"], row["arm"]),
                colour=known.get(row["arm"], 6),
                points=[svg.Point(x=x, y=y) for x, y in row["points"]],
                dash=seeds.index(row["seed"]) if row["seed"] in seeds else 0,
                marks=len(row["points"]) == 1,
            )
            for row in rows
        ]
        share = measure.endswith("accuracy")
        drawn = svg.chart(lines, title=title, x_label="step", share=share)
        charts.append(tag("div", drawn, tag("p", _dashes(seeds), class_="note")))
    return charts


def _dashes(seeds: Sequence[int]) -> str:
    if len(seeds) < 2:
        return ""
    patterns = ("solid", "dashed", "dotted", "long and short")
    told = [f"{seed} {pattern}" for seed, pattern in zip(seeds, patterns, strict=False)]
    return f"Seeds: {', '.join(told)}{', then again' if len(seeds) > len(patterns) else ''}."
