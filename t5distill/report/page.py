"""The page: one file that holds its style, its script and its data, and may fetch nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from t5distill.report import across, charts, sections
from t5distill.report.markup import Markup, escaped, joined, table, tag
from t5distill.report.predictions import Browser

_SECTIONS = (
    ("results", "Results", sections.results),
    ("differences", "Differences", sections.significance),
    ("curves", "Curves", sections.curves),
    ("outcomes", "Outcomes", sections.outcomes),
    ("equations", "Equations", sections.equations),
    ("training", "Training", sections.training),
    ("costs", "Spend and time", sections.costs),
)
_PLACE = re.compile(r"@([a-z]+)@")

Row = Mapping[str, Any]


def page(reports: Sequence[Row], browser: Browser, *, beside: Sequence[str], made: str) -> str:
    """Return the page of one or several runs.

    Args:
      reports: of `figures.figures`.
      browser: the predictions.
      beside: the files with the same numbers.
      made: when and by what.
    """
    style, script = _stored("page.css"), _stored("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    several = len(reports) > 1
    parts = [_side_by_side(reports)] if several else []
    parts += [_run(report, number, several) for number, report in enumerate(reports)]
    title = "Several runs" if several else reports[0]["title"] or reports[0]["run"]
    files = [tag("a", name, href=f"./{urllib.parse.quote(name)}") for name in beside]
    footer = ["The same numbers: ", files[0], " and ", files[1], f" beside this page. {made}"]
    filled = {
        "policy": escaped(policy).replace("&#x27;", "'"),
        "title": escaped(title),
        "style": style,
        "nav": joined(_nav(several, reports)),
        "body": joined(parts),
        "about": escaped(_about(browser)),
        "footer": tag("p", *footer),
        "columns": browser.encoded() if browser.total else "",
        "script": script,
    }
    # In one pass, so that nothing of the data is taken for a place.
    return _PLACE.sub(lambda found: filled[found[1]], _stored("page.html"))


def _stored(name: str) -> str:
    return importlib.resources.files("t5distill.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    found = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(found).decode()}"


def _nav(several: bool, reports: Sequence[Row]) -> list[Markup]:
    if several:
        links = [(f"run{i}", report["title"] or report["run"]) for i, report in enumerate(reports)]
    else:
        links = [(f"run0-{name}", title) for name, title, _ in _SECTIONS]
    return [
        tag("li", tag("a", title, href=f"#{name}"))
        for name, title in [*links, ("predictions", "Predictions")]
    ]


def _run(report: Row, number: int, several: bool) -> Markup:
    level = 2 if several else 1
    body = [
        tag("section", tag(f"h{level + 1}", title), section(report), id=f"run{number}-{name}")
        for name, title, section in _SECTIONS
    ]
    return tag("article", sections.head(report, level), *body, id=f"run{number}")


def _side_by_side(reports: Sequence[Row]) -> Markup:
    """Return the answers of several runs beside each other."""
    rows = [
        (report["title"] or report["run"], report["run"], report["answer"]["sentence"])
        for report in reports
    ]
    drawn = [
        tag("div", tag("h3", report["title"] or report["run"]), charts.first(report))
        for report in reports
    ]
    return joined([
        tag("h1", f"{len(reports)} runs side by side"),
        table("Answers", ("run", "folder", "answer"), rows, words=(1, 2)),
        tag("div", *drawn, class_="grid2"),
        tag("div", *_across(reports), class_="grid2"),
    ])  # fmt: skip


def _across(reports: Sequence[Row]) -> list[Markup]:
    curves = across.across(reports)
    names = dict.fromkeys(line["benchmark"] for curve in curves for line in curve["lines"])
    return [charts.sweep(curve, name) for curve in curves for name in names]


def _about(browser: Browser) -> str:
    shown = browser.total - browser.left_out
    if not browser.total:
        return "There are no predictions."
    said = f"{shown:,} predictions with question, verdict and chain; false equations are marked."
    if browser.left_out:
        said += (
            f" {browser.left_out:,} of {browser.total:,} are left out, later samples first: a page "
            "with all of them would be too large for a phone. The numbers above count all."
        )
    return said
