"""The sections of a report's page, from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5distill.records import OUTCOMES
from t5distill.report import charts
from t5distill.report.figures import RULES
from t5distill.report.markup import Markup, details, joined, table, tag
from t5distill.report.sentences import between, percent, points, points_between

Row = Mapping[str, Any]
_TICK = {True: "yes", False: "NO", None: "–"}
_HOW = (
    "Intervals: of one student Wilson's, over problems; of several, students and problems both "
    "count."
)
_RULES = ("strict-match", "flexible-extract", "with calculator", "no marker", "cut off")
_RULES_MEAN = (
    "Strict-match and flexible-extract are what widely used harnesses would have counted; “with "
    "calculator” works the equations out again after decoding; “no marker” are answers without "
    "words such as “The answer is”; “cut off” hit the length limit. Programs have none of these."
)


def head(report: Row, level: int) -> Markup:
    """Return question, answer and the one chart."""
    answer = report["answer"]
    title = report["title"] or report["run"]
    named = [
        part
        for part in (
            f"recipe {report['recipe']}" if report["recipe"] else "",
            f"after {report['source']}" if report["source"] else "",
            f"folder {report['run']}",
        )
        if part
    ]
    return joined([
        tag(f"h{level}", title),
        tag("p", " · ".join(named), class_="note"),
        tag("p", report["question"], class_="question") if report["question"] else "",
        tag("p", answer["sentence"], class_="answer"),
        tag("p", answer["note"], class_="note tiny") if answer["note"] else "",
        charts.first(report),
        missing(report),
    ])  # fmt: skip


def missing(report: Row) -> Markup:
    """Say what was looked for and not found, and what is amiss."""
    boxes = []
    for said, what in ((report["warnings"], "to beware of"), (report["missing"], "missing")):
        count = len(said)
        things = "One thing is" if count == 1 else f"{count} things are"
        items = tag("ul", *(tag("li", sentence) for sentence in said))
        if count:
            folded = details(f"{things} {what}", items, open_=count < 7)
            boxes.append(tag("div", folded, class_="warning"))
    return joined(boxes)


def results(report: Row) -> Markup:
    """Return our table beside the published numbers."""
    ours = _by_benchmark(
        report,
        lambda row: (
            row["label"], percent(row["accuracy"]), between(row), f"{row['n']:,}",
            len(row["seeds"]),
        ),
    )  # fmt: skip
    rules = _by_benchmark(
        report, lambda row: (row["label"], *(percent(row[rule]) for rule in RULES))
    )
    heads = ("student", "accuracy", "95 % interval", "problems", "students")
    others = [
        charts.accuracies(
            [row for row in report["accuracy"] if row["benchmark"] == benchmark],
            charts.colours(report),
            title=f"Accuracy on {benchmark}",
        )
        for benchmark in report["benchmarks"][1:]
    ]
    return joined([
        tag("div", table("Ours", heads, ours), _published(report), class_="grid2"),
        tag("p", _HOW, class_="note"),
        details(
            "By other rules",
            table("Shares of all problems", ("student", *_RULES), rules),
            tag("p", _RULES_MEAN, class_="note"),
        ),
        tag("div", *others, class_="grid2"),
    ])  # fmt: skip


def _by_benchmark(
    report: Row, cells: Callable[[Row], Sequence[object]], name: str = "accuracy"
) -> dict[str, list[Sequence[object]]]:
    """Return the rows of a table in groups, one for each benchmark."""
    groups: dict[str, list[Sequence[object]]] = {}
    for row in report[name]:
        groups.setdefault(row["benchmark"], []).append(cells(row))
    return groups


def _published(report: Row) -> Markup:
    if not report["published"]:
        return tag("p", "No published numbers were given.", class_="note")
    cells = _by_benchmark(
        report,
        lambda row: (
            row["label"], percent(row["accuracy"]), _tagged(row["verified"]), row["source"],
        ),
        "published",
    )  # fmt: skip
    heads = ("published", "accuracy", "", "source")
    # A figure of another model on other problems is no yardstick of ours.
    same = {row["benchmark"] for row in report["accuracy"]}
    elsewhere = sorted({r["benchmark"] for r in report["published"]} - same)
    note = (
        f"Published on {', '.join(elsewhere)}; ours is on {', '.join(sorted(same))}: the numbers "
        "are not of the same problems and do not compare."
        if elsewhere
        else "“Verified”: the number was read in the source that is named; “unverified”: it comes "
        "from elsewhere or from memory."
    )
    made = table("Published", heads, cells, words=(2, 3))
    return tag("div", made, tag("p", note, class_="note"))


def _tagged(verified: bool) -> Markup:
    word = "verified" if verified else "unverified"
    return tag("span", word, class_=f"tag {word}")


def significance(report: Row) -> Markup:
    """Return the paired differences."""
    rows = report["differences"]
    if not rows:
        return tag("p", "No two students answered the same problems.", class_="note")
    drawn = [
        charts.differences(
            [row for row in rows if row["benchmark"] == benchmark],
            charts.colours(report),
            title=f"Differences on {benchmark}, points",
        )
        for benchmark in report["benchmarks"]
    ]
    heads = ("student", "against", "points", "95 % interval", "shown", "better", "worse",
             "pairs", "problems", "interval from")  # fmt: skip
    cells = _by_benchmark(
        report,
        lambda row: (
            row["label"], row["against_label"], points(row["difference"]), points_between(row),
            "yes" if row["shown"] else "no", row["better"], row["worse"], len(row["seeds"]),
            f"{row['n']:,}", row["interval"],
        ),
        "differences",
    )  # fmt: skip
    note = (
        "Each problem is answered by both sides, and each side's students are paired by seed. A "
        "difference is shown where its interval leaves zero out. Better and worse count answers "
        "that only one side has right. Of comparisons without any real difference one in "
        "twenty is shown by chance."
    )
    return joined([
        tag("div", *drawn, class_="grid2"),
        table("Differences", heads, cells, words=(1, 4, 9)),
        tag("p", note, class_="note"),
    ])  # fmt: skip


def curves(report: Row) -> Markup:
    """Return what more data, a larger model or more samples give."""
    drawn = []
    for benchmark in report["benchmarks"]:
        if report["sweep"]:
            drawn.append(charts.sweep(report["sweep"], benchmark))
        drawn.append(charts.votes(report, benchmark))
    found = [chart for chart in drawn if chart]
    if not found:
        return tag("p", "Nothing was varied, and each problem has one sample.", class_="note")
    return tag("div", *found, class_="grid2")


def outcomes(report: Row) -> Markup:
    """Return what became of the answers."""
    rows = report["accuracy"]
    present = [o for o in OUTCOMES if any(row["outcomes"][o] for row in rows)]
    drawn = [
        charts.outcomes(some, title=f"Outcomes on {benchmark}")
        for benchmark in report["benchmarks"]
        if (some := [row for row in rows if row["benchmark"] == benchmark])
    ]
    cells = _by_benchmark(
        report, lambda row: (row["label"], *(percent(row["outcomes"][o]) for o in present))
    )
    heads = ("student", *(o.replace("_", " ") for o in present))
    behind = f"Programs and equations were executed behind {' and '.join(report['isolation'])}."
    return joined([
        tag("div", *drawn, class_="grid2"),
        tag("p", behind, class_="note") if report["isolation"] else "",
        details("As a table", table("Outcomes", heads, cells)),
    ])  # fmt: skip


def equations(report: Row) -> Markup:
    """Return how true the equations of the chains are."""
    rows = report["equations"]
    if not rows:
        said = "No chain with an equation that arithmetic alone decides was found."
        return tag("p", said, class_="note")
    drawn = [charts.equations(report, benchmark) for benchmark in report["benchmarks"]]
    heads = ("student", "equations", "true", "right answers, all equations true",
             "wrong answers, all equations true")  # fmt: skip
    cells = _by_benchmark(
        report,
        lambda row: (
            row["label"], f"{row['equations']:,}", percent(row["true"]),
            *(_share(row.get(f"all_true_of_{outcome}")) for outcome in ("correct", "wrong")),
        ),
        "equations",
    )  # fmt: skip
    note = (
        "A right answer with a false equation was right by luck or by a second slip; a wrong "
        "answer whose equations are all true went wrong in what it worked out, not in its "
        "arithmetic."
    )
    return joined([
        tag("div", *[d for d in drawn if d], class_="grid2"),
        table("Equations by the calculator", heads, cells),
        tag("p", note, class_="note"),
    ])  # fmt: skip


def _share(found: Row | None) -> str:
    return "–" if found is None else f"{percent(found['share'])} of {found['n']:,}"


def training(report: Row) -> Markup:
    """Return the training curves."""
    drawn = charts.training(report)
    if not drawn:
        return tag("p", "No training was recorded in this folder.", class_="note")
    if charts.few(report) != {row["arm"] for row in report["accuracy"]}:
        said = "Of many students those of the first chart are drawn; JSON and CSV have all."
        drawn.append(tag("p", said, class_="note"))
    return tag("div", *drawn, class_="grid2")


def costs(report: Row) -> Markup:
    """Return spend and time, of teacher and students."""
    labels = {row["arm"]: row["label"] for row in report["accuracy"]}
    teacher = [
        (
            row["set"],
            percent(row["accuracy"]),
            between(row),
            f"{row['n']:,}",
            _number(row["kept"]),
            _number(row["problems_kept"]),
            ", ".join(f"{name} {count:,}" for name, count in row["rejected"].items()) or "–",
        )
        for row in report["teacher"]
    ]
    heads = ("teacher's set", "right", "95 % interval", "samples", "kept", "problems kept",
             "left out because")  # fmt: skip
    made = [
        table("The teacher's samples on training problems", heads, teacher, words=(6,))
        if teacher
        else "",
        _spent(report["students"], labels),
        _provenance(report["students"], labels),
    ]
    if not any(made):
        return tag("p", "No cards of students and no curation were found.", class_="note")
    return joined(made)


def _spent(students: Sequence[Row], labels: Mapping[str, str]) -> Markup:
    if not students:
        return Markup("")
    heads = ("student", "seed", "parameters", "steps", "examples", "target tokens", "training",
             "in all", "memory, MiB", "teacher requests", "teacher tokens",
             "teacher's price")  # fmt: skip
    cells = [
        (
            labels.get(row["arm"], row["arm"]),
            row["seed"],
            *(_number(row[n]) for n in ("parameters", "steps", "examples", "target_tokens")),
            _duration(row["training_s"]),
            _duration(row["wall_s"]),
            _number(row["peak_memory_mib"]),
            *(_number(row[n]) for n in ("teacher_requests", "teacher_tokens", "teacher_money")),
        )
        for row in students
    ]  # fmt: skip
    note = (
        "Teacher columns are what the whole ledger cost, in the currency of its prices: all "
        "students of a folder share it."
    )
    return joined([table("Spend and time", heads, cells), tag("p", note, class_="note")])


def _provenance(students: Sequence[Row], labels: Mapping[str, str]) -> Markup:
    """Say of each student which checkpoint was taken and how, and what it was made from."""
    if not students:
        return Markup("")
    heads = ("student", "seed", "checkpoint", "chosen by", "chosen before the test was read",
             "device", "commit", "sets of chains", "examples seen of", "isolation")  # fmt: skip
    cells = [
        (
            labels.get(row["arm"], row["arm"]),
            row["seed"],
            _number(row["selected_step"]),
            f"{row['selected_by'] or '–'} on {row['selected_on'] or '–'}",
            _TICK[row["chosen_before_test"]],
            f"{_number(row['devices'])} × {row['device'] or '–'}",
            (row["commit"] or "–")[:12],
            ", ".join(f"{s['name']} ({(s['sha256'] or '–')[:12]})" for s in row["sets"]) or "–",
            ", ".join(f"{task} {count:,}" for task, count in row["mixture"].items()) or "–",
            ", ".join(row["isolation"]) or "–",
        )
        for row in students
    ]
    settings: dict[str, str] = {}
    for row in students:
        text = f"{row['command']}\n\n{row['versions']}\n\n{row['config']}".strip()
        settings.setdefault(row["arm"], text)
    folded = [
        details(f"Command and settings: {labels.get(arm, arm)}", tag("pre", text, class_="text"))
        for arm, text in settings.items()
        if text
    ]
    made = table("Provenance", heads, cells, words=range(3, 10))
    return details("Where each student comes from", made, *folded)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.2f}" if isinstance(value, float) and value % 1 else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
